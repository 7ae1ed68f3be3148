/* Arm's MPS2 board with the Cortex-M4F image AN386, as QEMU emulates it: start, output by semihosting, SysTick. */
#include "board.h"

extern uint32_t stack_top_, data_source_, data_start_, data_end_, bss_start_, bss_end_;
int main(void);
void board_reset(void);
void board_fault(void);

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018u)

/* With qemu's -icount shift=0 an instruction takes 1 ns; SysTick counts down at 25 MHz. */
enum { INSTRUCTIONS_PER_TICK = 40, SYSTICK_MASK = 0xFFFFFF };

static uint32_t semihost(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_put(const char *text)
{
    (void)semihost(0x04, text); /* SYS_WRITE0 */
}

void board_finish(int status)
{
    const uint32_t block[2] = { 0x20026, (uint32_t)status }; /* ADP_Stopped_ApplicationExit */
    (void)semihost(0x20, block);                             /* SYS_EXIT_EXTENDED */
    for (;;) {
    }
}

uint32_t board_now(void)
{
    return SYSTICK_VALUE;
}

uint32_t board_instructions(uint32_t since)
{
    return ((since - SYSTICK_VALUE) & SYSTICK_MASK) * INSTRUCTIONS_PER_TICK;
}

enum { MARKED = 512 };
static const uint32_t mark = 0xA5C3A5C3u;
static uint32_t *stack_low, *stack_high;

__attribute__((noinline)) void board_mark_stack(void)
{
    uint32_t *at;
    __asm volatile("mov %0, sp" : "=r"(at));
    stack_high = at;
    stack_low = at - MARKED;
    for (at = stack_low; at < stack_high - 4; ++at) {
        *(volatile uint32_t *)at = mark;
    }
}

__attribute__((noinline)) uint32_t board_used_stack(void)
{
    const uint32_t *at = stack_low;
    while (at < stack_high && *(const volatile uint32_t *)at == mark) {
        ++at;
    }
    return (uint32_t)(stack_high - at) * 4u;
}

void board_reset(void)
{
    const uint32_t *from = &data_source_;
    uint32_t *to;
    CPACR |= 0xFu << 20; /* the floating-point unit is off after a reset */
    __asm volatile("dsb\n\tisb");
    for (to = &data_start_; to < &data_end_; ++to) {
        *to = *from++;
    }
    for (to = &bss_start_; to < &bss_end_; ++to) {
        *to = 0;
    }
    SYSTICK_RELOAD = SYSTICK_MASK;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* on, at the processor's clock, without an interrupt */
    board_finish(main());
}

void board_fault(void)
{
    board_put("fault\n");
    board_finish(3);
}

typedef void (*vector)(void);
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    vector handlers[15];
} vectors = {
    &stack_top_,
    { board_reset, board_fault, board_fault, board_fault, board_fault, board_fault },
};
