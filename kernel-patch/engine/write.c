// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The text of points: what belongs there, and how it gets there. Slots are written with the first
 * text that leads to them.
 */
#include "point.h"

/* An edit of a point's text and one of its slot, with their bytes. */
struct change {
	u8 text[4];
	u8 code[SLOT_BYTES_MAX];
};

static_assert(SLOT_BYTES_MAX <= OS_EDIT_MAX, "a slot is one edit");

/* What belongs to the text of a point now. */
static u8 text_of(const struct probe_point *point)
{
	if (!point->armed)
		return POINT_TEXT_OWN;
	return point->jumps && !point->trapping ? POINT_TEXT_JUMP : POINT_TEXT_BREAK;
}

static size_t text_bytes(const struct probe_point *point, u8 text, u8 *bytes)
{
	u32 first = point->insn[0].bits, second = point->insn[1].bits, bits;
	size_t length = point->insn[0].length, i;

	if (text == POINT_TEXT_JUMP) {
		bits = insn_jump(point->address, point->slot + SLOT_CODE);
		length = 4;
	} else if (text == POINT_TEXT_BREAK) {
		bits = length == 2 ? INSN_C_EBREAK : INSN_EBREAK;
	} else {
		bits = first;
	}
	/* A jump covers two of them, or one and the half of another. */
	if (length == 2 && point->text == POINT_TEXT_JUMP) {
		bits |= second << 16;
		length = 4;
	}
	for (i = 0; i < length; i++)
		bytes[i] = bits >> 8 * i;
	return length;
}

/* The edit of a point's slot; gives their number, 0 or 1. */
static size_t edit_slot(struct probe_point *point, struct change *change, struct os_edit *edit)
{
	if (point->pending || !point->slot || point->written)
		return 0;
	*edit = (struct os_edit){
		.address = (void *)point->slot,
		.bytes = change->code,
		.length = slot_build(point, change->code),
	};
	point->pending = true;
	return 1;
}

/* The same of its text. Several probes of a list may have the point in common. */
static size_t edit_text(struct probe_point *point, struct change *change, struct os_edit *edit)
{
	point->wanted = text_of(point);
	if (point->edited || point->wanted == point->text)
		return 0;
	*edit = (struct os_edit){
		.address = (void *)point->address,
		.bytes = change->text,
		.length = text_bytes(point, point->wanted, change->text),
	};
	point->edited = true;
	return 1;
}

/* Both are written, or not. */
static void edited(struct probe_point *point, int err)
{
	if (point->pending && !err)
		point->written = true;
	if (point->edited && !err)
		point->text = point->wanted;
	point->pending = false;
	point->edited = false;
}

int point_write(struct probe_point *point)
{
	struct change change;
	struct os_edit edits[2];
	size_t n;
	int err;

	n = edit_slot(point, &change, edits);
	n += edit_text(point, &change, edits + n);
	err = points_write(edits, n);
	edited(point, err);
	return err;
}

int points_write_all(struct probe **list, size_t n)
{
	struct change *changes;
	struct os_edit *edits;
	size_t count = 0, i;
	int err = -ENOMEM;

	changes = os_alloc(n * sizeof(*changes) + 1);
	edits = os_alloc(2 * n * sizeof(*edits) + 1);
	if (changes && edits) {
		/* Slots lie side by side: pages that a port maps to write to are fewer so. */
		for (i = 0; i < n; i++)
			count += edit_slot(list[i]->point, &changes[i], edits + count);
		for (i = 0; i < n; i++)
			count += edit_text(list[i]->point, &changes[i], edits + count);
		err = points_write(edits, count);
		for (i = 0; i < n; i++)
			edited(list[i]->point, err);
	}
	if (edits)
		os_free(edits);
	if (changes)
		os_free(changes);
	return err;
}
