#include "appliance/supervise.h"
#include "appliance/reaper.h"
#include "appliance/signals.h"
#include "appliance/task.h"

#include <signal.h>

/* Under the program signals are blocked by its first instruction and the reaper is its affair. Under busted or lua5.4 nobody has
 * done either: only SIGCHLD is taken then, so that Ctrl-C ends a test run as ever. */
static bool prepare_foreign_process(struct loop *loop)
{
    sigset_t blocked, child;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&blocked, SIGCHLD))
        return true;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    if (signals_start(loop, NULL, NULL) && reaper_start(loop, true, NULL))
        return true;
    sigprocmask(SIG_UNBLOCK, &child, NULL);
    return false;
}

struct supervisor *supervise_instance(void)
{
    static struct supervisor *instance;
    struct loop *loop = task_loop();
    if (!instance && loop && prepare_foreign_process(loop))
        instance = supervisor_new(loop, NULL);
    return instance;
}
