#include "appliance/leases.h"

#include <stdlib.h>
#include <string.h>

struct lease *leases_get(struct lease **list, const char *name)
{
    for (struct lease *l = *list; l; l = l->next)
        if (strcmp(l->name, name) == 0)
            return l;
    size_t size = strlen(name) + 1;
    struct lease *l = malloc(sizeof *l + size);
    if (!l)
        return NULL;
    l->next = *list;
    l->due_boot_ns = 0;
    memcpy(l->name, name, size);
    *list = l;
    return l;
}

void leases_free(struct lease **list)
{
    while (*list) {
        struct lease *l = *list;
        *list = l->next;
        free(l);
    }
}
