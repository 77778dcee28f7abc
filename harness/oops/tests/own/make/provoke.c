// SPDX-License-Identifier: GPL-2.0
/*
 * provoke.ko: provokes one bug of a table when it is loaded: insmod provoke.ko bug=NAME.
 * For kernels that are made to die; built against stock headers from 5.10 to 6.12.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/interrupt.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/objtool.h>
#include <linux/preempt.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

static char *bug = "";
module_param(bug, charp, 0444);
MODULE_PARM_DESC(bug, "name in the table of bugs");

/* Hides a value from the compiler, so that it neither warns of nor removes what is done with it. */
#define HIDDEN(value) ({ typeof(value) hidden = (value); OPTIMIZER_HIDE_VAR(hidden); hidden; })

struct provoke_item {
	struct list_head list;
	unsigned long number;
};

static void *hidden_pointer(unsigned long address)
{
	return (void *)HIDDEN(address);
}

static noinline void provoke_null_read(void)
{
	pr_info("%lu\n", READ_ONCE(((struct provoke_item *)hidden_pointer(0))->number));
}

static noinline void provoke_null_write(void)
{
	WRITE_ONCE(((struct provoke_item *)hidden_pointer(0))->number, 1);
}

static noinline void provoke_null_call(void)
{
	void (*function)(void) = hidden_pointer(0);

	function();
	barrier();
}

static noinline void provoke_paging_read(void)
{
	pr_info("%d\n", READ_ONCE(*(char *)hidden_pointer(0xffffdead00000000)));
}

static noinline void provoke_rodata_write(void)
{
	WRITE_ONCE(*(char *)hidden_pointer((unsigned long)&param_ops_int), 1);
}

static noinline void provoke_exec_data(void)
{
	void *page = kmalloc(64, GFP_KERNEL);
	void (*function)(void);

	memset(page, 0xc3, 64);
	function = hidden_pointer((unsigned long)page);
	function();
	barrier();
}

static noinline void provoke_guard_page(void)
{
	char *area = vmalloc(PAGE_SIZE);

	WRITE_ONCE(*(char *)hidden_pointer((unsigned long)area + PAGE_SIZE), 1);
}

static noinline void provoke_user_access(void)
{
	WRITE_ONCE(*(char *)hidden_pointer(0x400000), 1);
}

static noinline void provoke_non_canonical(void)
{
	pr_info("%d\n", READ_ONCE(*(char *)hidden_pointer(0x0072006900560338)));
}

static noinline void provoke_stack_segment(void)
{
	/* Hardware raises #SS for a non-canonical address with base rbp; QEMU's TCG raises #GP. */
	asm volatile("push %%rbp\n\tmov %0, %%rbp\n\tmov (%%rbp), %%rax\n\tpop %%rbp"
		     : : "r"(0x0072006900560338UL) : "rax", "memory");
}

static noinline void provoke_divide(void)
{
	pr_info("%lu\n", 1000UL / HIDDEN(0UL));
}

static noinline void provoke_bug(void)
{
	BUG();
}

static noinline void provoke_invalid_opcode(void)
{
	/* BUG() without an entry in the table of bugs. */
	asm volatile("ud2");
}

static void provoke_timer_function(struct timer_list *timer)
{
	BUG();
}

static DEFINE_TIMER(provoke_timer, provoke_timer_function);

static noinline void provoke_bug_in_interrupt(void)
{
	mod_timer(&provoke_timer, jiffies + 1);
	msleep(1000);
}

static noinline void provoke_warn(void)
{
	WARN(1, "provoked: %d\n", 42);
}

static noinline void provoke_warn_once(void)
{
	WARN_ON_ONCE(HIDDEN(1));
}

static noinline unsigned long provoke_recursion(unsigned long depth)
{
	volatile char room[256];

	room[depth & 255] = depth;
	if (HIDDEN(depth) == ~0UL)
		return 0;
	return provoke_recursion(depth + 1) + room[(depth + 1) & 255];
}

static noinline void provoke_stack_overflow(void)
{
	pr_info("%lu\n", provoke_recursion(0));
}

static noinline void provoke_double_fault(void)
{
	/* Nothing is mapped there, so the page fault of the push has no stack either. */
	asm volatile("mov %0, %%rsp\n\tpush %%rax" : : "r"(0xffffdead00000000UL) : "memory");
}
STACK_FRAME_NON_STANDARD(provoke_double_fault);

static noinline void provoke_list_add(void)
{
	static LIST_HEAD(head);
	static struct provoke_item first, second;

	list_add(&first.list, &head);
	head.next = &second.list;
	list_add(&second.list, &head);
	list_add(&first.list, &head);
}

static noinline void provoke_list_del(void)
{
	static LIST_HEAD(head);
	static struct provoke_item item;

	list_add(&item.list, &head);
	list_del(&item.list);
	list_del(&item.list);
}

static noinline void provoke_redzone(void)
{
	char *object = kmalloc(64, GFP_KERNEL);

	object = hidden_pointer((unsigned long)object);
	WRITE_ONCE(object[64], 0x41);
	kfree(object);
}

static noinline void provoke_poison(void)
{
	char *object = kmalloc(64, GFP_KERNEL);
	int i;

	kfree(object);
	object = hidden_pointer((unsigned long)object);
	WRITE_ONCE(object[8], 0x41);
	for (i = 0; i < 200; i++)
		kmalloc(64, GFP_KERNEL);
}

static noinline void provoke_double_free(void)
{
	void *object = kmalloc(64, GFP_KERNEL);
	void *again = hidden_pointer((unsigned long)object);

	kfree(object);
	kfree(again);
}

static noinline void provoke_refcount_add(void)
{
	static refcount_t count = REFCOUNT_INIT(1);

	refcount_set(&count, 0);
	refcount_inc(&count);
}

static noinline void provoke_refcount_sub(void)
{
	static refcount_t count = REFCOUNT_INIT(1);

	refcount_set(&count, 0);
	if (refcount_dec_and_test(&count))
		pr_info("dropped\n");
}

static noinline void provoke_copy(const char *object)
{
	if (copy_to_user((void __user *)current->mm->start_stack, object, HIDDEN(128UL)))
		pr_info("not copied\n");
	barrier();
}

static noinline void provoke_copy_overflow(void)
{
	static const char object[64];

	if (copy_to_user((void __user *)current->mm->start_stack, object, HIDDEN(128UL)))
		pr_info("not copied\n");
}

static noinline void provoke_usercopy(void)
{
	provoke_copy(hidden_pointer((unsigned long)kmalloc(64, GFP_KERNEL)));
	barrier();
}

static noinline void provoke_stack_protector(void)
{
	char room[32];
	char *at = hidden_pointer((unsigned long)room);
	int i;

	for (i = 0; i < 48; i++)
		WRITE_ONCE(at[i], 0x41);
}

static noinline void provoke_fortify(void)
{
	static char from[64], to[16];

	memcpy(to, from, HIDDEN(32UL));
	pr_info("%d\n", to[0]);
}

#ifndef CONFIG_KFENCE
#define is_kfence_address(address) false
#else
#include <linux/kfence.h>
#endif

static noinline void provoke_kfence_object(void (*wrong)(char *object))
{
	char *object;
	int i;

	/* KFENCE serves one allocation of each interval: take what lies in its pool. */
	for (i = 0; i < 200000; i++) {
		object = kmalloc(32, GFP_KERNEL);
		/* At the end of its page, or a read beyond it meets no guard page. */
		if (is_kfence_address(object) && PAGE_ALIGNED((unsigned long)object + 32)) {
			wrong(object);
			return;
		}
		kfree(object);
		if (i % 64 == 0)
			msleep(2);
	}
}

static noinline void provoke_read_freed(char *object)
{
	kfree(object);
	pr_info("%d\n", READ_ONCE(*(char *)hidden_pointer((unsigned long)object)));
}

static noinline void provoke_read_beyond(char *object)
{
	pr_info("%d\n", READ_ONCE(*(char *)hidden_pointer((unsigned long)object + 32)));
}

static noinline void provoke_free_middle(char *object)
{
	kfree(hidden_pointer((unsigned long)object + 8));
}

static void provoke_kfence_use(void)
{
	provoke_kfence_object(provoke_read_freed);
}

static void provoke_kfence_bounds(void)
{
	provoke_kfence_object(provoke_read_beyond);
}

static void provoke_kfence_free(void)
{
	provoke_kfence_object(provoke_free_middle);
}

/* A variable, so that the loops have an end for the compiler: else the unwinder loses what lies above them. */
static bool forever = true;

static noinline void provoke_soft_lockup(void)
{
	preempt_disable();
	while (READ_ONCE(forever))
		cpu_relax();
}

static noinline void provoke_hard_lockup(void)
{
	local_irq_disable();
	while (READ_ONCE(forever))
		cpu_relax();
}

static noinline void provoke_hung_task(void)
{
	static DECLARE_COMPLETION(never);

	wait_for_completion(&never);
	barrier();
}

static int provoke_reader(void *unused)
{
	rcu_read_lock();
	while (READ_ONCE(forever))
		cpu_relax();
	rcu_read_unlock();
	return 0;
}

static noinline void provoke_rcu_stall(void)
{
	kthread_run(provoke_reader, NULL, "provoke-rcu");
	synchronize_rcu();
}

static noinline void provoke_atomic_schedule(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	schedule_timeout_uninterruptible(1);
	spin_unlock(&lock);
}

static noinline void provoke_page_state(void)
{
	/* Single pages go to a CPU's list first, where nobody looks at them. */
	struct page *page = alloc_pages(GFP_KERNEL, 5);

	page->mapping = hidden_pointer(0xdead0000);
	__free_pages(page, 5);
}

static noinline void provoke_panic(void)
{
	panic("provoked by hand");
}

static noinline void provoke_oom(void)
{
	for (;;)
		alloc_pages(GFP_KERNEL, 3);
}

static void provoke_on_cpu(void *unused)
{
	BUG();
}

static noinline void provoke_two_cpus(void)
{
	smp_call_function(provoke_on_cpu, NULL, 0);
	provoke_on_cpu(NULL);
}

static const struct {
	const char *name;
	void (*provoke)(void);
} bugs[] = {
#define BUG_OF(name) { #name, provoke_##name }
	BUG_OF(null_read), BUG_OF(null_write), BUG_OF(null_call), BUG_OF(paging_read),
	BUG_OF(rodata_write), BUG_OF(exec_data), BUG_OF(guard_page), BUG_OF(user_access),
	BUG_OF(non_canonical), BUG_OF(stack_segment), BUG_OF(divide), BUG_OF(bug),
	BUG_OF(invalid_opcode), BUG_OF(bug_in_interrupt), BUG_OF(warn), BUG_OF(warn_once),
	BUG_OF(stack_overflow), BUG_OF(double_fault), BUG_OF(list_add), BUG_OF(list_del), BUG_OF(redzone),
	BUG_OF(poison), BUG_OF(double_free), BUG_OF(refcount_add), BUG_OF(refcount_sub),
	BUG_OF(usercopy), BUG_OF(copy_overflow), BUG_OF(stack_protector), BUG_OF(fortify), BUG_OF(kfence_use),
	BUG_OF(kfence_bounds), BUG_OF(kfence_free), BUG_OF(soft_lockup), BUG_OF(hard_lockup),
	BUG_OF(hung_task), BUG_OF(rcu_stall), BUG_OF(atomic_schedule), BUG_OF(page_state),
	BUG_OF(panic), BUG_OF(oom), BUG_OF(two_cpus),
};

static int __init provoke_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bugs); i++)
		if (strcmp(bug, bugs[i].name) == 0) {
			bugs[i].provoke();
			return -ECANCELED; /* the kernel lives, and the module goes */
		}
	pr_err("provoke: no bug is called \"%s\"\n", bug);
	return -EINVAL;
}

module_init(provoke_init);
MODULE_DESCRIPTION("Provokes one bug of a table");
MODULE_LICENSE("GPL");
