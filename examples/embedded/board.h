/* What the program needs of the machine it runs on. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_put(const char *text);

/* Instructions that the processor has executed, to about 40; 0 where nothing counts them. The difference of two calls
 * is right up to 600 million. */
uint32_t board_instructions(uint32_t since);
uint32_t board_now(void);

/* Marks the free stack; then says how much of it has been used since. 0 where nothing is known. */
void board_mark_stack(void);
uint32_t board_used_stack(void);

/* Ends the program: 0 is success. */
void board_finish(int status);

#endif
