/* A model check of the supervisor: random services, random orders of deaths, readiness, commands, failing forks and time, and after
 * each step what must always hold:
 *   - never two main processes of one service, and none beside the rest of its old family (asserted by child_start in fake_kernel.h);
 *   - who was told to be down stays down, and is down within its grace and the time a KILL takes;
 *   - a service starts only when everything it needs is there;
 *   - who has a lease starts only while it is held, and is dead soon after it is over;
 *   - every death is counted once, but those by a lease or by an order, which are not;
 *   - processes and states agree; the stop of everything ends within its budget, and nothing starts any more.
 * The seed of a run that fails is printed; APPLIANCE_SEED=n runs only that one, APPLIANCE_ROUNDS=n more of them. */
#include "fake_world.h"

#include "appliance/leases.h"

enum { SERVICES = 7, STEPS = 400, ROUNDS = 1500, KILL_MAX_MS = 40, BUDGET_MS = 8000 };

/* What the model knows of a service without looking into the supervisor. */
struct model {
    char name[8];
    bool told_up, told_down;
    int64_t down_since; /* of the demand */
    int64_t grace_ms, healthy_ms;
    bool oneshot, can_probe, leased;
    enum restart_policy restart;
    int after[SERVICES];
    enum need_kind kinds[SERVICES];
    int after_count;
    int crashes, starts;
    int64_t up_at; /* 0: not up in this run */
    bool fresh;    /* told up while it still ended: when it is down its count begins anew */
};

static struct model models[SERVICES];
static uint64_t seed, state;
static int step;
static bool stopping;
static int64_t lease_due; /* of the one lease there is */

static unsigned below(unsigned limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 11) % limit;
}

static bool one_in(unsigned count)
{
    return below(count) == 0;
}

#define MUST(condition)                                                                                            \
    do {                                                                                                           \
        if (!(condition)) {                                                                                        \
            for (int line_ = world.line_count > 25 ? world.line_count - 25 : 0; line_ < world.line_count; line_++) \
                print_error("  %s\n", world.lines[line_]);                                                         \
            fail_msg("seed %llu, step %d: %s", (unsigned long long)seed, step, #condition);                        \
        }                                                                                                          \
    } while (0)

static struct model *model_of(const char *name)
{
    for (int i = 0; i < SERVICES; i++)
        if (strcmp(models[i].name, name) == 0)
            return &models[i];
    return NULL;
}

static struct service_view view_of(const struct model *m)
{
    struct service_view view = {0};
    MUST(supervisor_view(world.sup, m->name, &view));
    return view;
}

static bool is_met(const struct model *needed, enum need_kind kind)
{
    enum service_state now = view_of(needed).state;
    if (now == SERVICE_DONE)
        return true;
    return kind == NEED_DONE ? false : now == SERVICE_UP || (kind == NEED_STARTED && now == SERVICE_STARTING);
}

static void take_fresh(struct model *m)
{
    if (m->fresh)
        m->crashes = 0;
    m->fresh = false;
}

static void started(struct fake *f)
{
    struct model *m = model_of(f->name);
    MUST(!stopping);
    MUST(m->told_up);
    MUST(!m->told_down);
    MUST(!m->leased || lease_due - world.now > LEASE_START_MARGIN_NS);
    for (int i = 0; i < m->after_count; i++)
        MUST(is_met(&models[m->after[i]], m->kinds[i]));
    take_fresh(m);
    m->starts++;
    m->up_at = m->can_probe || m->oneshot ? 0 : world.now;
    f->ignores_term = one_in(6);
    f->members_ignore_term = one_in(6);
    f->slow_ms = below(200);
    f->kill_ms = below(KILL_MAX_MS);
    if (one_in(8)) /* dies by itself some time, also between two steps */
        will_die(f, (struct child_end){.status = one_in(3) ? 0 : 1}, below(3000));
}

/* Crashes before a healthy run don't count any more. */
static void forgive(struct model *m)
{
    if (m->up_at && world.now - m->up_at >= m->healthy_ms * NS_PER_MS)
        m->crashes = 0;
}

/* It is put down: not a crash. */
static void foresee_kill(struct model *m)
{
    enum service_state now = view_of(m).state;
    if (now == SERVICE_STARTING || now == SERVICE_UP)
        forgive(m);
}

/* A death is about to be told: what will the count be? */
static void foresee_death(struct model *m, struct child_end how)
{
    enum service_state now = view_of(m).state;
    if (now != SERVICE_STARTING && now != SERVICE_UP)
        return; /* it was asked to end, or counted already */
    if (m->leased && lease_due <= world.now) {
        forgive(m);
        return;
    }
    bool may_end = m->oneshot || m->restart != RESTART_ALWAYS;
    if (may_end && how.signal == 0 && how.status == 0)
        return;
    forgive(m);
    m->crashes++;
}

static void foresee_deaths(void)
{
    for (int i = 0; i < SERVICES; i++) {
        struct fake *f = fake_of(models[i].name);
        kill_overdue(f);
        if (f->dead && f->died_at <= world.now)
            foresee_death(&models[i], f->how);
    }
}

/* Like pass_ms of fake_world.h, in steps of single events, so that the model sees each one. */
static void model_pass(int64_t ms)
{
    int64_t until = world.now + ms * NS_PER_MS;
    while (world.now < until) {
        foresee_deaths();
        world_events();
        int64_t next = next_world_event(until);
        if (next > world.now)
            loop_turn(world.loop, next, NULL);
        else
            loop_turn(world.loop, 0, NULL);
    }
    foresee_deaths();
    world_events();
}

static void check(void)
{
    for (int i = 0; i < SERVICES; i++) {
        struct model *m = &models[i];
        struct fake *f = fake_of(m->name);
        struct service_view view = view_of(m);
        bool runs = view.state == SERVICE_STARTING || view.state == SERVICE_UP;
        bool may_run = runs || view.state == SERVICE_CLEARING || view.state == SERVICE_STOPPING;
        MUST(runs ? f->child != NULL : true);
        MUST(may_run ? true : f->child == NULL);
        MUST(view.pid == (f->child ? f->pid : 0));
        MUST(!m->leased || !f->child || lease_due > world.now || (f->dead && f->died_at <= world.now + KILL_MAX_MS * NS_PER_MS));
        MUST(view.state != SERVICE_DOWN || f->members == 0);
        MUST(view.state != SERVICE_BACKOFF || f->members == 0);
        if (view.state != SERVICE_STOPPING)
            take_fresh(m);
        MUST(f->starts == m->starts);
        MUST(view.restarts == (m->starts > 0 ? m->starts - 1 : 0));
        MUST(view.crashes == m->crashes);
        if (m->told_down && world.now - m->down_since > (m->grace_ms + 2 * KILL_MAX_MS + 1000) * NS_PER_MS)
            MUST(view.state == SERVICE_DOWN);
        MUST(!m->told_down || view.state == SERVICE_DOWN || view.state == SERVICE_STOPPING);
        if (view.state == SERVICE_WAITING && !stopping) {
            bool met = true;
            for (int n = 0; n < m->after_count; n++)
                met &= is_met(&models[m->after[n]], m->kinds[n]);
            met &= !m->leased || lease_due - world.now > LEASE_START_MARGIN_NS;
            MUST(!met); /* nobody waits for nothing */
        }
    }
}

/* --- one round --- */

static struct service_spec *random_spec(struct model *m, int index)
{
    struct service_spec *spec = spec_of(m->name);
    spec->grace_ms = m->grace_ms;
    spec->healthy_ms = m->healthy_ms;
    spec->oneshot = m->oneshot;
    spec->restart = m->restart;
    spec->dump_signal = one_in(2) ? SIGQUIT : 0;
    spec->backoff_min_ms = 10 + below(500);
    spec->backoff_max_ms = 1000 + below(5000);
    if (m->leased)
        spec->lease = strdup("sql");
    if (m->can_probe) {
        spec->ready.kind = READY_LUA;
        spec->ready.deadline_ms = 0;
    }
    for (int i = 0; i < m->after_count; i++)
        needs(spec, models[m->after[i]].name, m->kinds[i]);
    (void)index;
    return spec;
}

static void make_services(void)
{
    memset(models, 0, sizeof models);
    for (int i = 0; i < SERVICES; i++) {
        struct model *m = &models[i];
        snprintf(m->name, sizeof m->name, "s%d", i);
        m->grace_ms = 100 + below(3000);
        m->healthy_ms = below(4000);
        m->oneshot = one_in(5);
        m->can_probe = one_in(3);
        m->leased = one_in(3);
        m->restart = m->oneshot || one_in(2) ? RESTART_ALWAYS : RESTART_ON_FAILURE;
        for (int n = 0; n < i; n++) /* only earlier ones: no cycle */
            if (one_in(4)) {
                m->after[m->after_count] = n;
                m->kinds[m->after_count++] = (enum need_kind)below(models[n].oneshot ? 3 : 2);
            }
    }
    for (int i = SERVICES - 1; i >= 0; i--)
        declare(random_spec(&models[i], i));
}

static void command_up(struct model *m)
{
    enum service_state before = view_of(m).state;
    m->told_up = true;
    m->told_down = false;
    if (before == SERVICE_DOWN || before == SERVICE_FAILED)
        m->crashes = 0;
    m->fresh |= before == SERVICE_STOPPING;
    want(m->name, true);
}

static void command_down(struct model *m)
{
    if (!m->told_down)
        m->down_since = world.now;
    m->told_down = true;
    m->fresh = false;
    want(m->name, false);
}

static void command_restart(struct model *m)
{
    m->told_up = true;
    m->told_down = false;
    m->fresh = true;
    assert_true(supervisor_restart(world.sup, m->name, NULL));
}

static void command_kill(struct model *m)
{
    foresee_kill(m);
    assert_true(supervisor_kill(world.sup, m->name, NULL));
}

/* Mostly it is held for longer, now and then given up; some times nobody moves it for so long that it runs out. */
static void move_lease(void)
{
    lease_due = one_in(4) ? 0 : world.now + (int64_t)below(4000) * NS_PER_MS;
    for (int i = 0; i < SERVICES; i++) {
        struct fake *f = fake_of(models[i].name);
        if (models[i].leased && f->child && (f->overdue || f->due <= world.now || lease_due <= world.now))
            foresee_kill(&models[i]);
    }
    assert_true(supervisor_lease(world.sup, "sql", lease_due, NULL));
}

static void random_step(void)
{
    struct model *m = &models[below(SERVICES)];
    struct fake *f = fake_of(m->name);
    switch (below(15)) {
    case 0:
    case 1:
    case 2: command_up(m); break;
    case 3: command_down(m); break;
    case 4: command_restart(m); break;
    case 5:
    case 6:
        if (f->child) {
            f->dead = true;
            f->died_at = world.now;
            f->how = one_in(2) ? (struct child_end){.status = (int)below(3)} : (struct child_end){.status = -1, .signal = SIGSEGV};
            if (one_in(3) && f->members == 0)
                f->members = (int)below(3); /* it leaves somebody behind */
            foresee_deaths();
            world_events();
        }
        break;
    case 7:
    case 8:
        if (m->can_probe && view_of(m).state == SERVICE_STARTING && f->child && !f->dead) {
            m->up_at = world.now;
            assert_true(supervisor_ready(world.sup, m->name, NULL));
        }
        break;
    case 9: world.spawn_errno = one_in(3) ? EAGAIN : 0; break;
    case 10: declare(random_spec(m, 0)); break; /* the same in what the model knows */
    case 11:
    case 12: move_lease(); break;
    case 13: command_kill(m); break;
    default: model_pass(below(2000)); break;
    }
    if (one_in(3))
        model_pass(below(100));
}

static int64_t done_at;
static void all_done(void *unused)
{
    (void)unused;
    done_at = world.now;
}

static void stop_everything(void)
{
    int64_t from = world.now;
    stopping = true;
    world.spawn_errno = 0;
    done_at = 0;
    supervisor_stop_all(world.sup, BUDGET_MS, all_done, NULL);
    for (int i = 0; i < 60 && !done_at; i++) {
        if (one_in(20))
            supervisor_stop_all(world.sup, BUDGET_MS, all_done, NULL);
        struct fake *f = fake_of(models[below(SERVICES)].name);
        if (one_in(4) && f->child)
            will_die(f, (struct child_end){.status = 9}, below(50)); /* some die meanwhile */
        model_pass(below(400));
    }
    model_pass(BUDGET_MS);
    MUST(done_at != 0);
    MUST(done_at - from <= BUDGET_MS * NS_PER_MS);
    for (int i = 0; i < SERVICES; i++) {
        MUST(fake_of(models[i].name)->child == NULL);
        MUST(fake_of(models[i].name)->members == 0);
        enum service_state now = view_of(&models[i]).state;
        MUST(now == SERVICE_DOWN || now == SERVICE_FAILED);
    }
}

static void run_round(uint64_t of)
{
    seed = of;
    state = of * 0x9e3779b97f4a7c15u + 1;
    stopping = false;
    lease_due = 0;
    assert_int_equal(world_begin(NULL), 0);
    world.on_start = started;
    make_services();
    for (step = 0; step < STEPS; step++) {
        random_step();
        check();
        world.signal_count = 0;
        if (world.line_count > WORLD_LINES - 500)
            world.line_count = 0;
    }
    stop_everything();
    assert_int_equal(world_end(NULL), 0);
}

static void what_must_always_hold_holds_in_any_order_of_events(void **unused)
{
    (void)unused;
    const char *only = getenv("APPLIANCE_SEED"), *more = getenv("APPLIANCE_ROUNDS");
    if (only) {
        run_round(strtoull(only, NULL, 10));
        return;
    }
    int rounds = more ? atoi(more) : ROUNDS;
    for (int i = 1; i <= rounds; i++)
        run_round((uint64_t)i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_must_always_hold_holds_in_any_order_of_events)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
