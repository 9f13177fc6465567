/* last_words.h - why a program ended, read from what it printed last: "port 7077 is taken (its last words: ...)".
 * A small table of words that everybody's programs die with. Pure; who calls it knows that the program did end badly. */
#ifndef APPLIANCE_LAST_WORDS_H
#define APPLIANCE_LAST_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum { LAST_WORDS_READ = 8 << 10 }; /* so many bytes of last output are worth a look: a stack trace and what follows it */

/* `text`: whole lines, newest last, terminated by a zero; it is cut up. False, and `out` empty: nothing known is in it. */
bool last_words_explain(char *text, char *out, size_t size);

#endif
