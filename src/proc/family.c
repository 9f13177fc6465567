#include "appliance/family.h"
#include "appliance/child.h"
#include "appliance/clock.h"
#include "appliance/reaper.h"
#include "appliance/sys.h"
#include "sweep.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* So many members are watched at a time: when they have ended the next sweep finds the others. A family of ten thousand must not
 * take our descriptors. */
enum { WATCHERS = 16, POLL_FIRST_MS = 20, POLL_LAST_MS = 500, UNSURE_LONGEST_MS = 10000 };

struct watcher {
    struct watch watch; /* a pidfd: readable at the end, also of a process that is not our child */
    struct family *family;
    pid_t pid;
};

struct known {
    pid_t pid;
    uint64_t start;
};

struct family {
    struct family *next;
    struct loop *loop;
    char *marker; /* "name@instance"; NULL: everybody */
    pid_t main;   /* 0 once it is reaped */
    int signal;
    bool waiting;        /* for `gone` */
    struct known *known; /* by rising pid: the members of the last sweep, all of whom have had the signal */
    size_t known_count;
    struct watcher *watchers; /* WATCHERS of them, made when first needed */
    int watched;
    struct timer poll; /* only where nobody could be watched: no pidfd, no descriptor left, or nobody is sure to be a member */
    int64_t poll_ms;
    int64_t unsure_due_ns;  /* so long we wait for those who may be members: see count_unsure */
    uint64_t unsure_faults; /* theirs, at the last sweep */
    void (*gone)(struct family *, void *argument);
    void *argument;
};

static struct family *families, *cursor; /* cursor: the next one of the walk under way, so that `gone` may free any */

static void check(struct family *);

/* --- who belongs to it --- */

static bool is_known(const struct family *f, const struct process *p)
{
    size_t low = 0, high = f->known_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (f->known[middle].pid == p->pid)
            return f->known[middle].start == p->start;
        if (f->known[middle].pid < p->pid)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool is_direct(const struct family *f, const struct sweep *s, const struct process *p)
{
    if (!f->marker) {
        if (getpid() == 1 || p->parent == getpid())
            return true;
        const char *instance = p->marker ? strrchr(s->texts + p->marker, '@') : NULL;
        return instance && strcmp(instance + 1, child_instance()) == 0;
    }
    if (f->main && (p->pid == f->main || p->session == f->main))
        return true;
    if (is_known(f, p)) /* one that is ending has lost its environment already, and may take long to give its memory back */
        return true;
    return p->marker && strcmp(s->texts + p->marker, f->marker) == 0;
}

/* Descent counts only where nothing nearer tells whose it is. The marker of another run (our own kind, run by a service) tells nothing. */
static bool is_somebody_elses(const struct family *f, const struct sweep *s, const struct process *p)
{
    if (!f->marker)
        return false;
    if (p->known_session)
        return true;
    const char *instance = p->marker ? strrchr(s->texts + p->marker, '@') : NULL;
    return instance && strcmp(instance + 1, child_instance()) == 0;
}

/* Marks the members in `member`, a byte for each process. */
static size_t find_members(const struct family *f, const struct sweep *s, unsigned char *member)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++)
        count += member[i] = is_direct(f, s, &s->list[i]);
    for (bool more = count > 0; more;) {
        more = false;
        for (size_t i = 0; i < s->count; i++) {
            const struct process *p = &s->list[i];
            if (!member[i] && p->parent_index >= 0 && member[p->parent_index] && !is_somebody_elses(f, s, p)) {
                member[i] = 1;
                count++;
                more = true;
            }
        }
    }
    return count;
}

/* Orphans whose marker could not be read in the middle of an exec: perhaps they are of this family, and the next sweep will tell. An
 * exec that hangs (on a dead network disk) holds nobody up for more than a few sweeps. One that executes itself anew without end may be
 * in the middle of it at each of a few, above all where processors are short, and would be left behind: so as long as they get on, or
 * wait for a processor, we look often; up to a limit, for they may be another family's. */
static size_t count_unsure(struct family *f, const struct sweep *s, const unsigned char *member)
{
    size_t count = 0;
    uint64_t faults = 0;
    bool get_on = false;
    if (!f->marker)
        return 0;
    for (size_t i = 0; i < s->count; i++)
        if (!member[i] && s->list[i].in_exec && s->list[i].parent == getpid()) {
            count++;
            faults += s->list[i].faults;
            get_on |= s->list[i].runs;
        }
    get_on |= faults != f->unsure_faults;
    if (count > 0 && get_on && clock_ns() < f->unsure_due_ns)
        f->poll_ms = POLL_FIRST_MS;
    f->unsure_faults = faults;
    return f->poll_ms < POLL_LAST_MS ? count : 0;
}

/* --- signals --- */

static bool wants_continue(int signal)
{
    return signal != 0 && signal != SIGKILL && signal != SIGCONT && signal != SIGSTOP;
}

static void signal_main(const struct family *f, int signal)
{
    const struct child *main = f->main ? reaper_find(f->main) : NULL;
    if (!main || signal == 0)
        return;
    child_signal(main, signal, REACH_LEADER);
    if (wants_continue(signal))
        child_signal(main, SIGCONT, REACH_LEADER);
}

/* Returns the pidfd, or -1 where there is none. `told`: it has the signal, or is gone; else the next sweep has to try again. */
static int signal_other(const struct process *p, int signal, bool *told)
{
    int pidfd = sys.pidfd_open(p->pid, 0);
    if (pidfd < 0 && errno == ESRCH)
        return -1;
    bool shortage;
    if (!sweep_is_same(p->pid, p->start, &shortage)) {
        *told = !shortage;
        if (pidfd >= 0)
            sys.close(pidfd);
        return -1;
    }
    if (signal == 0)
        return pidfd;
    if (pidfd < 0 || (sys.pidfd_send_signal(pidfd, signal, NULL, 0) < 0 && (errno == ENOSYS || errno == EPERM))) {
        /* The number is a moment old at most here: as good as it gets without a pidfd. */
        sys.kill(p->pid, signal);
        if (wants_continue(signal))
            sys.kill(p->pid, SIGCONT);
    } else if (wants_continue(signal)) {
        sys.pidfd_send_signal(pidfd, SIGCONT, NULL, 0);
    }
    return pidfd;
}

/* --- watching --- */

static void unwatch(struct watcher *w)
{
    if (!watch_is_started(&w->watch))
        return;
    int pidfd = w->watch.fd;
    watch_stop(&w->watch);
    sys.close(pidfd);
    w->family->watched--;
}

static void unwatch_all(struct family *f)
{
    for (int i = 0; f->watchers && i < WATCHERS; i++)
        unwatch(&f->watchers[i]);
}

static void member_ended(struct watch *watch, uint32_t events)
{
    (void)events;
    struct watcher *w = (struct watcher *)watch; /* its first member */
    struct family *f = w->family;
    unwatch(w);
    check(f);
}

/* Takes the pidfd over. */
static void watch_member(struct family *f, pid_t pid, int pidfd)
{
    if (pidfd < 0)
        return;
    if (!f->watchers)
        f->watchers = calloc(WATCHERS, sizeof *f->watchers);
    struct watcher *free_one = NULL;
    for (int i = 0; f->watchers && i < WATCHERS; i++) {
        struct watcher *w = &f->watchers[i];
        if (!watch_is_started(&w->watch)) {
            if (!free_one)
                free_one = w;
        } else if (w->pid == pid) { /* an ended one's watch would have been told, or is about to be */
            free_one = NULL;
            break;
        }
    }
    if (free_one) {
        free_one->family = f;
        free_one->pid = pid;
        if (watch_start(&free_one->watch, f->loop, pidfd, EPOLLIN, member_ended, NULL)) {
            f->watched++;
            return;
        }
    }
    sys.close(pidfd);
}

static void poll_again(struct timer *t)
{
    check((struct family *)((char *)t - offsetof(struct family, poll)));
}

static void poll_later(struct family *f)
{
    if (timer_is_started(&f->poll))
        return;
    timer_start(&f->poll, f->loop, f->poll_ms, poll_again);
    f->poll_ms = f->poll_ms * 2 < POLL_LAST_MS ? f->poll_ms * 2 : POLL_LAST_MS;
}

/* --- one round: sweep, ask, watch --- */

/* Signals all members, or only those that the last sweep did not know. Returns how many live (with those that may turn out to be
 * members), -1 where that can't be told now. */
static int ask(struct family *f, int signal, bool all, bool fresh)
{
    const struct sweep *s;
    enum sweep_result result = sweep_take(f->loop, fresh, &s);
    if (result == SWEEP_NEVER) { /* without a /proc of ours, main is all that can be known */
        if (f->main && all)
            signal_main(f, signal);
        return f->main ? 1 : 0;
    }
    unsigned char *member = result == SWEEP_DONE ? calloc(s->count + 1, 1) : NULL;
    if (!member)
        return -1;
    size_t count = find_members(f, s, member);
    /* Without memory for the list somebody may be asked twice: better than not at all. */
    struct known *known = count ? malloc(count * sizeof *known) : NULL;
    size_t known_count = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct process *p = &s->list[i];
        if (!member[i])
            continue;
        bool again = !all && is_known(f, p), told = true;
        if (p->pid == f->main && !again)
            signal_main(f, signal);
        else if (p->pid != f->main && (!again || f->watched < WATCHERS))
            watch_member(f, p->pid, signal_other(p, again ? 0 : signal, &told));
        if (known && (told || again))
            known[known_count++] = (struct known){p->pid, p->start};
    }
    count += count_unsure(f, s, member);
    free(member);
    free(f->known);
    f->known = known;
    f->known_count = known_count;
    return (int)count;
}

static void signal_at_one_stroke(struct family *f, int signal)
{
    /* Where the kernel can: this reaches also whoever is born during a sweep. */
    if (!f->marker && getpid() == 1 && signal) {
        sys.kill(-1, signal);
        if (wants_continue(signal))
            sys.kill(-1, SIGCONT);
    } else if (f->main && signal == SIGKILL) {
        sys.kill(-f->main, SIGKILL);
    }
}

int family_signal(struct family *f, pid_t main, int signal)
{
    f->main = main && reaper_find(main) ? main : 0;
    f->signal = signal;
    f->poll_ms = POLL_FIRST_MS;
    f->unsure_due_ns = clock_ns() + UNSURE_LONGEST_MS * NS_PER_MS;
    unwatch_all(f); /* the sweep watches anew those that are left */
    timer_stop(&f->poll);
    bool all_at_once = !f->marker && getpid() == 1;
    int count = ask(f, all_at_once ? 0 : signal, true, false);
    signal_at_one_stroke(f, signal);
    if (count < 0) { /* no memory: main at least, and its group, and soon the others */
        signal_main(f, signal);
        count = 1;
        poll_later(f);
    } else if (count == 0 && f->main) { /* it died and is not reaped yet: `ended` comes first, then `gone` */
        count = 1;
    } else if (count > (f->main != 0) && f->watched == 0) {
        poll_later(f);
    }
    f->waiting = count > 0;
    return count;
}

static void finish(struct family *f)
{
    f->waiting = false;
    unwatch_all(f);
    timer_stop(&f->poll);
    free(f->known);
    f->known = NULL;
    f->known_count = 0;
    f->gone(f, f->argument);
}

/* Read once until somebody dies again: a stranger leaves our list only when it is reaped, and none can come of a family that has
 * neither main process nor stranger. */
static bool nobody_is_lost(void)
{
    static unsigned long read_at = -1UL;
    static bool nobody;
    if (read_at != reaper_deaths()) {
        read_at = reaper_deaths();
        nobody = reaper_strangers() == 0;
    }
    return nobody;
}

/* Somebody of it ended, or may have. */
static void check(struct family *f)
{
    if (!f->waiting)
        return;
    if (f->main && reaper_find(f->main))
        return; /* its death will bring us here again */
    f->main = 0;
    if (f->watched > 0)
        return;
    if (f->marker && nobody_is_lost()) { /* whoever outlived main would have been given to us, or descend from one who was */
        finish(f);
        return;
    }
    int count = ask(f, f->signal, false, true);
    if (count == 0)
        finish(f);
    else if (f->watched == 0)
        poll_later(f);
}

static void batch_reaped(void *argument)
{
    (void)argument;
    for (struct family *f = families; f; f = cursor) {
        cursor = f->next;
        check(f);
    }
    cursor = NULL;
}

bool family_may_have_members(pid_t main)
{
    if (main && reaper_find(main))
        return true; /* it lives: only a sweep could tell */
    return !nobody_is_lost();
}

/* --- birth and end --- */

struct family *family_new(struct loop *loop, const char *marker, void (*gone)(struct family *, void *), void *argument, struct err *err)
{
    struct family *f = calloc(1, sizeof *f);
    if (f && marker && strncmp(marker, CHILD_MARKER, sizeof CHILD_MARKER - 1) == 0)
        marker += sizeof CHILD_MARKER - 1;
    if (f && marker && !(f->marker = strdup(marker))) {
        free(f);
        f = NULL;
    }
    if (!f) {
        errno = ENOMEM;
        err_errno(err, "make the process family of %s", marker ? marker : "everybody");
        return NULL;
    }
    f->loop = loop;
    f->gone = gone;
    f->argument = argument;
    f->next = families;
    families = f;
    reaper_on_batch(batch_reaped, NULL);
    return f;
}

void family_free(struct family *f)
{
    if (!f)
        return;
    struct family **place = &families;
    while (*place != f)
        place = &(*place)->next;
    *place = f->next;
    if (cursor == f)
        cursor = f->next;
    unwatch_all(f);
    timer_stop(&f->poll);
    free(f->watchers);
    free(f->known);
    free(f->marker);
    free(f);
    if (!families) {
        sweep_stop();
        reaper_on_batch(NULL, NULL);
    }
}
