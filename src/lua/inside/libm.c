/* libm.c - Lua's mathematics, loaded by the first use of it.
 * Linked in the usual way libm costs every start 0.1 ms of relocations and every node 0.1 MiB, for functions that nothing of ours
 * calls: they are there for a profile that computes. Lua, linked into the program, finds these instead; nobody outside sees them. */
#include "appliance/log.h"

#include <dlfcn.h>
#include <stddef.h>

static void *find(const char *name)
{
    static void *libm;
    if (!libm)
        libm = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
    void *function = libm ? dlsym(libm, name) : NULL;
    if (!function)
        log_error("%s: %s; a number that a profile computes is missing", name, dlerror());
    return function;
}

/* Without libm the answer is "not a number", which no check of a setting or a plan lets pass. */
#define ONE(name)                                                \
    __attribute__((visibility("hidden"))) double name(double x); \
    double name(double x)                                        \
    {                                                            \
        static double (*real)(double);                           \
        if (!real)                                               \
            *(void **)&real = find(#name);                       \
        return real ? real(x) : __builtin_nan("");               \
    }
#define TWO(name)                                                          \
    __attribute__((visibility("hidden"))) double name(double x, double y); \
    double name(double x, double y)                                        \
    {                                                                      \
        static double (*real)(double, double);                             \
        if (!real)                                                         \
            *(void **)&real = find(#name);                                 \
        return real ? real(x, y) : __builtin_nan("");                      \
    }

ONE(acos)
ONE(asin)
ONE(cos)
ONE(cosh)
ONE(exp)
ONE(log)
ONE(log10)
ONE(log2)
ONE(sin)
ONE(sinh)
ONE(sqrt)
ONE(tan)
ONE(tanh)
TWO(atan2)
TWO(fmod)
TWO(pow)
