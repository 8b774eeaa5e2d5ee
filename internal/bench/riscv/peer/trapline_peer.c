// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Native kprobes and kretprobes with handlers that do the same work as the engine's statistics, for the benchmark. Built into
 * the kernel that is measured, never part of the patch.
 *
 *	echo "entry vfs_write+0" > /proc/trapline_peer	a kprobe whose handler measures argument 2
 *	echo "latency vfs_write" > /proc/trapline_peer	a kretprobe with an entry handler
 *	echo off > /proc/trapline_peer
 *	cat /proc/trapline_peer				count, total, min, max
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kprobes.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/sched/clock.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#define BUCKETS 48

struct row {
	u64 count;
	u64 total;
	u64 inverse_min;
	u64 max;
	u64 hist[BUCKETS];
};

static DEFINE_PER_CPU(struct row, rows);
static DEFINE_MUTEX(lock);
static char symbol[128];
static struct kprobe kprobe;
static struct kretprobe kretprobe;
static enum { OFF, ENTRY, LATENCY } placed;
static u64 ns_per_tick;

/* The same tree as the engine's: the compiler's own would be a table or a call. */
static unsigned int bucket(u64 v)
{
	return min(fls64(v), BUCKETS - 1);
}

static void measure(u64 v)
{
	struct row *r = this_cpu_ptr(&rows);

	r->count++;
	r->total += v;
	if (~v > r->inverse_min)
		r->inverse_min = ~v;
	if (v > r->max)
		r->max = v;
	r->hist[bucket(v)]++;
}

static int at_entry(struct kprobe *p, struct pt_regs *regs)
{
	measure(regs->a2);
	return 0;
}

static int call_begins(struct kretprobe_instance *i, struct pt_regs *regs)
{
	*(u64 *)i->data = get_cycles();
	return 0;
}

static int call_returns(struct kretprobe_instance *i, struct pt_regs *regs)
{
	measure((get_cycles() - *(u64 *)i->data) * ns_per_tick);
	return 0;
}

static void remove_probe(void)
{
	if (placed == ENTRY)
		unregister_kprobe(&kprobe);
	if (placed == LATENCY)
		unregister_kretprobe(&kretprobe);
	placed = OFF;
}

static ssize_t peer_write(struct file *file, const char __user *text, size_t n, loff_t *pos)
{
	char line[160], kind[16];
	unsigned int offset = 0;
	int err = 0, cpu;

	if (n >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, text, n))
		return -EFAULT;
	line[n] = 0;
	mutex_lock(&lock);
	remove_probe();
	/* The kernel's sscanf knows no ranges of characters. */
	if (sscanf(line, "%15s %127[^+]+%u", kind, symbol, &offset) < 1)
		kind[0] = 0;
	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&rows, cpu), 0, sizeof(struct row));
	if (!strcmp(kind, "entry")) {
		memset(&kprobe, 0, sizeof(kprobe));
		kprobe.symbol_name = symbol;
		kprobe.offset = offset;
		kprobe.pre_handler = at_entry;
		err = register_kprobe(&kprobe);
		if (!err)
			placed = ENTRY;
	} else if (!strcmp(kind, "latency")) {
		memset(&kretprobe, 0, sizeof(kretprobe));
		kretprobe.kp.symbol_name = symbol;
		kretprobe.entry_handler = call_begins;
		kretprobe.handler = call_returns;
		kretprobe.data_size = sizeof(u64);
		err = register_kretprobe(&kretprobe);
		if (!err)
			placed = LATENCY;
	} else if (strcmp(kind, "off")) {
		err = -EINVAL;
	}
	mutex_unlock(&lock);
	return err ?: n;
}

static int peer_show(struct seq_file *m, void *v)
{
	struct row sum = {};
	int cpu;

	for_each_possible_cpu(cpu) {
		struct row *r = per_cpu_ptr(&rows, cpu);

		sum.count += r->count;
		sum.total += r->total;
		sum.inverse_min = max(sum.inverse_min, r->inverse_min);
		sum.max = max(sum.max, r->max);
	}
	seq_printf(m, "%llu %llu %llu %llu\n", sum.count, sum.total, ~sum.inverse_min, sum.max);
	return 0;
}

static int peer_open(struct inode *inode, struct file *file)
{
	return single_open(file, peer_show, NULL);
}

static const struct proc_ops peer_ops = {
	.proc_open = peer_open,
	.proc_read = seq_read,
	.proc_write = peer_write,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

static int __init peer_init(void)
{
	ns_per_tick = NSEC_PER_SEC / riscv_timebase;
	proc_create("trapline_peer", 0600, NULL, &peer_ops);
	return 0;
}
late_initcall(peer_init);
