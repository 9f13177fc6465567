#include "timers.h"

/* Both are roots; the earlier one becomes the parent. Of two due at once the one that was there first stays first. */
static struct timer *meld(struct timer *a, struct timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->due_ns < a->due_ns) {
        struct timer *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    if (b->next)
        b->next->previous = b;
    b->previous = a;
    a->child = b;
    return a;
}

/* Joins a list of siblings to one tree: in pairs from the left, then the pairs from the right. */
static struct timer *meld_siblings(struct timer *first)
{
    struct timer *pairs = NULL;
    while (first) {
        struct timer *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->previous = NULL;
        if (b)
            b->next = b->previous = NULL;
        struct timer *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    struct timer *root = NULL;
    while (pairs) {
        struct timer *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        root = meld(root, pair);
    }
    return root;
}

struct timer *timers_insert(struct timer *root, struct timer *t)
{
    t->child = t->next = t->previous = NULL;
    return meld(root, t);
}

struct timer *timers_remove(struct timer *root, struct timer *t)
{
    struct timer *children = meld_siblings(t->child);
    t->child = NULL;
    if (t == root)
        return children;
    if (t->previous->child == t)
        t->previous->child = t->next;
    else
        t->previous->next = t->next;
    if (t->next)
        t->next->previous = t->previous;
    t->next = t->previous = NULL;
    return meld(root, children);
}
