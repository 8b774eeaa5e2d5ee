// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tasks: each has a stack, and what the engine keeps of it. They switch when they want to.
 */
#include "kernel.h"

struct hart harts[PORT_HARTS];

void task_make(struct task *task, void (*run)(void))
{
	*task = (struct task){ .stack = task->stack };
	task->registers[0] = (unsigned long)run;
	task->registers[1] = (unsigned long)task->stack + STACK_SIZE;
}

void task_switch(struct task *to)
{
	struct hart *hart = this_hart();
	struct task *from = hart->task;

	hart->task = to;
	switch_registers(from->registers, to->registers);
}
