// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A probe's life: prepared, armed, disarmed, released. All of it under the lock, none of it in a
 * trap.
 *
 * The text of an address is a jump if all probes there can do with one, else an ebreak. The
 * order of things is what makes this safe: traps find a point from before its text is changed
 * until it is back; probes are linked in when the text is changed, and linked out before it is
 * back, as behind os_write_text no hit is under way that knew them.
 */
#include "calls.h"
#include "rows.h"

static_assert(__builtin_offsetof(struct probe_point, hit) == POINT_HIT, "trampoline.S");
static_assert(__builtin_offsetof(struct probe_point, whole) == POINT_WHOLE, "trampoline.S");

#define PROBE_ACTIVE_DEFAULT 256

static bool ready;

int probe_init(void)
{
	int err;

	probe_harts = os_alloc(PORT_HARTS * sizeof(*probe_harts));
	if (!probe_harts)
		return -ENOMEM;
	err = points_init();
	if (!err)
		err = slots_init();
	ready = !err;
	return err;
}

/*
 * A jump displaces an instruction that shall have a probe of its own: it becomes an ebreak,
 * which displaces only the first one. Only where os_write_text is enough to know that nobody
 * stands in the slot is there more than one.
 */
static int shorten(struct probe_point *point)
{
	struct probe_point before = *point;
	int err;

	point->insns = 1;
	point->run = point->insn[0].length;
	point->jumps = false;
	point->written = false;
	err = point_write(point);
	if (err) {
		point->insns = before.insns;
		point->run = before.run;
		point->jumps = before.jumps;
		point->written = before.written;
	}
	return err;
}

/* Makes the point at an address. */
static int make_point(unsigned long address, bool jump, struct probe_point **made,
		      struct probe_refusal *why)
{
	struct probe_point *over = point_known(address - 2);
	struct probe_point *point;
	int err;

	point = os_alloc(sizeof(*point));
	if (!point)
		return -ENOMEM;
	point->hit = probe_hit;
	point->address = address;
	err = point_place(point, jump, why);
	if (!err && over && over->insns == 2)
		err = shorten(over);
	if (err) {
		if (point->slot)
			slot_give_back(point->slot, point->slot_bytes);
		os_free(point);
		return err;
	}
	point_know(point);
	*made = point;
	return 0;
}

static int take_point(struct probe *p, struct probe_refusal *why)
{
	struct probe_point *point = point_known(p->address);
	int err;

	if (!point) {
		err = make_point(p->address, !p->traps, &point, why);
		if (err)
			return err;
	}
	p->point = point;
	point->users++;
	/* Inside a function, ra need not be what it returns by. */
	return p->kind != PROBE_ENTRY && p->address != point->function ? -EINVAL : 0;
}

/* The last probe there has gone. */
static void drop_point(struct probe_point *point)
{
	if (point->text != POINT_TEXT_OWN) {
		/* What could not be put back stays as it is: it leads to its slot and on. */
		if (point_write(point))
			return;
		point_find_end(point);
	}
	point_forget(point);
	point_retire(point);
}

static int take_memory(struct probe *p)
{
	p->stride = (p->contexts * sizeof(struct probe_row) + ROWS_ALIGN - 1) & ~(ROWS_ALIGN - 1);
	p->rows = os_alloc((size_t)PORT_HARTS * p->stride);
	if (!p->rows)
		return -ENOMEM;
	if (p->kind != PROBE_ENTRY) {
		p->calls = calls_make(p, p->active, p->data_size);
		return p->calls ? 0 : -ENOMEM;
	}
	p->scratch = os_alloc((size_t)PORT_HARTS * p->data_size + 1);
	return p->scratch ? 0 : -ENOMEM;
}

static void give_back(struct probe *p)
{
	if (p->calls) {
		__atomic_store_n(&p->calls->probe, 0, __ATOMIC_RELEASE);
		calls_bury(p->calls);
	}
	if (p->rows)
		os_free(p->rows);
	if (p->scratch)
		os_free(p->scratch);
	if (p->point && !--p->point->users)
		drop_point(p->point);
	p->calls = 0;
	p->rows = 0;
	p->scratch = 0;
	p->point = 0;
}

int probe_prepare(struct probe *p, struct probe_refusal *why)
{
	int err;

	*why = (struct probe_refusal){ 0 };
	if (!ready)
		return -EOPNOTSUPP;
	if (p->kind < PROBE_ENTRY || p->kind > PROBE_LATENCY || p->contexts > PROBE_CONTEXTS_MAX)
		return -EINVAL;
	if (p->value_reg >= PROBE_REGS)
		return -EINVAL;
	if (!p->contexts || !p->context)
		p->contexts = 1;
	if (!p->active)
		p->active = PROBE_ACTIVE_DEFAULT;
	p->traps = p->changes_registers || p->flags & PROBE_FLAG_NO_JUMP;
	p->landing = (unsigned long)(p->ops && p->ops->exit ? probe_return_whole : probe_return);
	p->plain = !p->ops && !(p->flags & PROBE_FLAG_CPU_TIME);
	p->next = 0;
	p->armed = false;
	p->point = 0;
	p->calls = 0;
	p->rows = 0;
	p->scratch = 0;

	os_lock();
	calls_sweep();
	err = take_point(p, why);
	if (!err)
		err = take_memory(p);
	if (err)
		give_back(p);
	os_unlock();
	return err;
}

/* Which of the probes a hit runs by the short way. */
static void choose_simple(struct probe_point *point)
{
	struct probe *p = point->probes;
	bool simple = p && !p->next && p->plain &&
		      !(p->kind == PROBE_ENTRY && p->flags & PROBE_FLAG_VALUE && !p->value_reg);

	__atomic_store_n(&point->simple, simple ? p : 0, __ATOMIC_RELEASE);
}

/* Calls of the last time the probe was armed don't count for it any more: they keep their room. */
static int fresh_calls(struct probe *p)
{
	struct probe_calls *fresh;

	if (!p->calls || p->calls->probe == p)
		goto done;
	rows_settle(p);
	if (calls_all_back(p->calls))
		goto done;
	fresh = calls_make(p, p->active, p->data_size);
	if (!fresh)
		return -ENOMEM;
	calls_bury(p->calls);
	p->calls = fresh;
done:
	if (p->calls)
		__atomic_store_n(&p->calls->probe, p, __ATOMIC_RELEASE);
	return 0;
}

static void link_probe(struct probe *p)
{
	struct probe_point *point = p->point;

	/* In between, hits take the long way. */
	__atomic_store_n(&point->simple, 0, __ATOMIC_RELEASE);
	p->next = point->probes;
	__atomic_store_n(&point->probes, p, __ATOMIC_RELEASE);
	choose_simple(point);
	p->armed = true;
}

/* Whether hits need the registers too that a call preserves: gp, tp, s0 to s11. */
static bool needs_whole(const struct probe *p)
{
	unsigned int n = p->value_reg;

	return p->ops || n == 3 || n == 4 || n == 8 || n == 9 || (n >= 18 && n <= 27);
}

static void count_in(struct probe *p)
{
	p->point->armed++;
	p->point->trapping += p->traps;
	p->point->whole += needs_whole(p);
	point_find_begin(p->point);
}

static void count_out(struct probe *p)
{
	p->point->armed--;
	p->point->trapping -= p->traps;
	p->point->whole -= needs_whole(p);
}

static void stop_finding(struct probe_point *point)
{
	if (!point->armed && point->text == POINT_TEXT_OWN)
		point_find_end(point);
}

int probe_arm(struct probe **list, size_t n)
{
	size_t i, in = 0;
	int err = 0;

	os_lock();
	for (i = 0; i < n && !err; i++) {
		if (!list[i]->point)
			err = -EINVAL;
		else if (!list[i]->armed)
			err = fresh_calls(list[i]);
	}
	if (err)
		goto out;
	for (in = 0; in < n; in++) {
		if (!list[in]->armed)
			count_in(list[in]);
	}
	err = points_write_all(list, n);
	for (i = 0; i < n; i++) {
		if (list[i]->armed)
			continue;
		if (!err) {
			link_probe(list[i]);
			continue;
		}
		count_out(list[i]);
		stop_finding(list[i]->point);
	}
out:
	os_unlock();
	return err;
}

static void unlink_probe(struct probe *p)
{
	struct probe_point *point = p->point;
	struct probe **at = &point->probes;

	p->armed = false;
	__atomic_store_n(&point->simple, 0, __ATOMIC_RELEASE);
	while (*at != p)
		at = &(*at)->next;
	/* Its own link stays, for a hit that stands on it. */
	__atomic_store_n(at, p->next, __ATOMIC_RELEASE);
	choose_simple(point);
	if (p->calls)
		__atomic_store_n(&p->calls->probe, 0, __ATOMIC_RELEASE);
}

int probe_disarm(struct probe **list, size_t n)
{
	size_t i;
	int err;

	os_lock();
	for (i = 0; i < n; i++) {
		if (!list[i]->armed)
			continue;
		unlink_probe(list[i]);
		count_out(list[i]);
	}
	err = n ? points_write_all(list, n) : 0;
	for (i = 0; err == -ENOMEM && i < n; i++)
		point_write(list[i]->point);
	/*
	 * Where the text can't be put back it leads to a point without probes. No hit may be
	 * under way all the same.
	 */
	if (err)
		points_write(0, 0);
	for (i = 0; i < n; i++)
		stop_finding(list[i]->point);
	calls_sweep();
	os_unlock();
	return err;
}

void probe_release(struct probe *p)
{
	if (p->armed)
		probe_disarm(&p, 1);
	os_lock();
	give_back(p);
	os_unlock();
}

u32 probe_method(const struct probe *p, unsigned long *slot)
{
	const struct probe_point *point = p->point;

	*slot = point->slot;
	if (point->jumps && !p->traps && !point->trapping)
		return PROBE_METHOD_JUMP;
	return point->resume ? PROBE_METHOD_SLOT : PROBE_METHOD_SIMULATE;
}

bool probe_text_reserved(unsigned long start, unsigned long end)
{
	bool reserved = false;
	unsigned long at;

	if (!ready)
		return false;
	os_lock();
	/* The longest run is 6 bytes. */
	for (at = (start & ~1ul) - 4; at < end && !reserved; at += 2) {
		const struct probe_point *point = point_known(at);

		reserved = point && at + point->run > start;
	}
	os_unlock();
	return reserved;
}

bool probe_original(unsigned long address, void *bytes, size_t length)
{
	bool changed = false;
	u8 *out = bytes;
	size_t i;

	if (!ready)
		return false;
	os_lock();
	for (i = 0; i < length; i++)
		changed |= place_byte(address + i, &out[i]);
	os_unlock();
	return changed;
}
