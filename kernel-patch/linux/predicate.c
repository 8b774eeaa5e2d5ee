// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Decides whether a hit counts.
 */
#include "opened.h"

/*
 * "*" is any text, "?" any character. Goes back to the last star only, so it takes at most
 * pattern times text steps.
 */
static bool predicate_glob(const char *pattern, const char *text)
{
	const char *star = NULL, *mark = NULL;

	for (;;) {
		if (*pattern == '*') {
			star = ++pattern;
			mark = text;
		} else if (!*text) {
			return !*pattern;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++mark;
		} else {
			return false;
		}
	}
}

/* A constant is shorter than a string: what it has no room for is no difference. */
static bool predicate_same(const char *constant, const char *text)
{
	u32 i;

	for (i = 0; i < PROBE_CONSTANT_SIZE; i++) {
		if (constant[i] != text[i])
			return false;
		if (!constant[i])
			break;
	}
	return true;
}

static bool predicate_compare(u32 op, bool is_signed, u64 l, u64 r)
{
	bool less = is_signed ? (s64)l < (s64)r : l < r;

	switch (op) {
	case PROBE_TEST_EQUAL:
		return l == r;
	case PROBE_TEST_NOT_EQUAL:
		return l != r;
	case PROBE_TEST_LESS:
		return less;
	case PROBE_TEST_LESS_EQUAL:
		return less || l == r;
	case PROBE_TEST_GREATER:
		return !less && l != r;
	case PROBE_TEST_GREATER_EQUAL:
		return !less;
	}
	return l & r; /* PROBE_TEST_BITS */
}

static bool predicate_test(const struct probe_recipe *recipe, struct probe_values *values,
			   const struct probe_test *t)
{
	u64 right = t->value;
	const char *text;

	if (values->failed >> t->left & 1) {
		values->undecided = 1;
		return false;
	}
	if (t->op >= PROBE_TEST_STRING) {
		text = values->string[recipe->fetch[t->left].string];
		if (t->op == PROBE_TEST_GLOB)
			return predicate_glob(recipe->constant[t->right], text);
		return predicate_same(recipe->constant[t->right], text) ==
		       (t->op == PROBE_TEST_STRING);
	}
	if (t->right) {
		if (values->failed >> (t->right - 1) & 1) {
			values->undecided = 1;
			return false;
		}
		right = values->number[t->right - 1];
	}
	return predicate_compare(t->op, t->is_signed, values->number[t->left], right);
}

/* Runs tests [from, to), which recipe.c has checked. True if there is none. */
bool predicate_holds(const struct probe_recipe *recipe, struct probe_values *values, u32 from,
		     u32 to)
{
	u64 stack = 1;
	u32 i;

	values->undecided = 0;
	for (i = from; i < to; i++) {
		const struct probe_test *t = &recipe->test[i];
		u64 top = stack & 1;

		switch (t->op) {
		case PROBE_TEST_AND:
			stack >>= 1;
			stack &= ~1ull | top;
			break;
		case PROBE_TEST_OR:
			stack >>= 1;
			stack |= top;
			break;
		case PROBE_TEST_NOT:
			stack ^= 1;
			break;
		default:
			stack = stack << 1 | predicate_test(recipe, values, t);
		}
	}
	return stack & 1;
}
