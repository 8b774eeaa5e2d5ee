// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Checks what a probe_attr says about values, predicates and events, so that a hit need not.
 */
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "opened.h"

static bool is_string(const struct probe_fetch *f)
{
	return f->format == PROBE_FORMAT_STRING || f->format == PROBE_FORMAT_USER_STRING;
}

static bool fetch_valid(const struct probe_fetch *f, u32 kind)
{
	if (f->base > PROBE_BASE_CONTEXT || f->format > PROBE_FORMAT_USER_STRING)
		return false;
	if (f->derefs > PROBE_DEREFS || f->user >> f->derefs || f->at_return > 1)
		return false;
	if (f->base == PROBE_BASE_REG ? f->index >= PROBE_REGS : f->index)
		return false;
	if (f->size != 1 && f->size != 2 && f->size != 4 && f->size != 8)
		return false;
	if (is_string(f) ? f->size != 1 || f->string >= PROBE_STRINGS : f->string)
		return false;
	/* What means nothing here is zero, so that it can mean something one day. */
	if ((f->value && f->base != PROBE_BASE_IMMEDIATE) ||
	    memchr_inv(f->offset + f->derefs, 0, (PROBE_DEREFS - f->derefs) * sizeof(*f->offset)) ||
	    memchr_inv(f->pad, 0, sizeof(f->pad)))
		return false;
	if (f->base == PROBE_BASE_COMM && (f->format != PROBE_FORMAT_STRING || f->derefs))
		return false;
	if (f->at_return && kind == PROBE_ENTRY)
		return false;
	if ((f->base == PROBE_BASE_RETVAL || f->base == PROBE_BASE_LATENCY) && !f->at_return)
		return false;
	return true;
}

/* A side of a comparison: a fetch that has been read by then, and is or is no string. */
static bool side_valid(const struct probe_recipe *r, u32 fetch, bool string, bool at_return)
{
	return fetch < r->fetches && is_string(&r->fetch[fetch]) == string &&
	       r->fetch[fetch].at_return <= at_return;
}

static bool test_valid(const struct probe_recipe *r, const struct probe_test *t, bool at_return)
{
	if (memchr_inv(t->pad, 0, sizeof(t->pad)) || t->is_signed > 1)
		return false;
	switch (t->op) {
	case PROBE_TEST_EQUAL ... PROBE_TEST_BITS:
		return side_valid(r, t->left, false, at_return) &&
		       (!t->right ||
			(!t->value && side_valid(r, t->right - 1, false, at_return)));
	case PROBE_TEST_STRING ... PROBE_TEST_GLOB:
		return side_valid(r, t->left, true, at_return) && t->right < PROBE_STRINGS &&
		       !t->value && !t->is_signed;
	case PROBE_TEST_AND ... PROBE_TEST_NOT:
		return !t->value && !t->is_signed && !t->left && !t->right;
	}
	return false;
}

/*
 * Whether [from, to) is a predicate in postfix order: each step finds its operands, and one bit
 * is left.
 */
static bool tests_valid(const struct probe_recipe *r, u32 from, u32 to, bool at_return)
{
	u32 i, depth = 0;

	for (i = from; i < to; i++) {
		if (!test_valid(r, &r->test[i], at_return))
			return false;
		switch (r->test[i].op) {
		case PROBE_TEST_AND:
		case PROBE_TEST_OR:
			if (depth < 2)
				return false;
			depth--;
			break;
		case PROBE_TEST_NOT:
			if (depth < 1)
				return false;
			break;
		default:
			depth++;
		}
	}
	return from == to || depth == 1;
}

static int recipe_read(const struct probe_attr *attr, struct probe_recipe *r)
{
	u32 i;

	r->fetches = attr->fetch_count;
	r->tests = attr->test_count;
	r->return_tests = attr->return_test_count;
	r->frames = attr->frames;
	r->stack_words = attr->stack_words;
	if (copy_from_user(r->fetch, u64_to_user_ptr(attr->fetches),
			   r->fetches * sizeof(r->fetch[0])) ||
	    copy_from_user(r->test, u64_to_user_ptr(attr->tests),
			   (r->tests + r->return_tests) * sizeof(r->test[0])))
		return -EFAULT;
	if (attr->constants &&
	    copy_from_user(r->constant, u64_to_user_ptr(attr->constants), sizeof(r->constant)))
		return -EFAULT;
	for (i = 0; i < PROBE_STRINGS; i++)
		r->constant[i][PROBE_CONSTANT_SIZE - 1] = 0;
	for (i = 0; i < r->fetches; i++) {
		if (!fetch_valid(&r->fetch[i], attr->kind))
			return -EINVAL;
		if (is_string(&r->fetch[i]))
			r->strings = max_t(u32, r->strings, r->fetch[i].string + 1);
	}
	if (!tests_valid(r, 0, r->tests, false) ||
	    !tests_valid(r, r->tests, r->tests + r->return_tests, true))
		return -EINVAL;
	if (attr->flags & PROBE_FLAG_VALUE && !side_valid(r, 0, false, false))
		return -EINVAL;
	return 0;
}

int recipe_new(const struct probe_attr *attr, struct probe_recipe **recipe)
{
	struct probe_recipe *r;
	int err;

	*recipe = NULL;
	if (attr->fetch_count > PROBE_FETCHES || attr->test_count > PROBE_TESTS ||
	    attr->return_test_count > PROBE_TESTS - attr->test_count)
		return -EINVAL;
	if (attr->return_test_count && attr->kind == PROBE_ENTRY)
		return -EINVAL;
	if ((attr->fetches && !attr->fetch_count) ||
	    ((attr->tests || attr->constants) && !attr->test_count && !attr->return_test_count))
		return -EINVAL;
	if (!attr->fetch_count && !attr->test_count && !attr->return_test_count &&
	    !(attr->flags & (PROBE_FLAG_EVENTS | PROBE_FLAG_VALUE)))
		return 0;
	r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	if (!r)
		return -ENOMEM;
	err = recipe_read(attr, r);
	if (err) {
		kfree(r);
		return err;
	}
	r->values = min_t(u32, r->fetches, PROBE_VALUES);
	r->record = sizeof(struct probe_event) + r->values * sizeof(u64) +
		    r->strings * PROBE_STRING_SIZE + (r->stack_words + r->frames) * sizeof(u64);
	if (attr->flags & PROBE_FLAG_REGS)
		r->record += PROBE_REGS * sizeof(u64);
	r->record = ALIGN(r->record, EVENT_ALIGN);
	*recipe = r;
	return 0;
}
