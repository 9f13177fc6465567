/* xml_read for who reads XML rarely: the reader and libxml2 are loaded by the first document. libxml2 brings ICU and the C++ library with
 * it, which take longer to load than all the rest of the module, and most requests that succeed have no XML in their answer. */
#include "appliance/xml.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef bool reader(struct xml_document *, struct bytes, const struct xml_limits *, struct err *);

/* $ORIGIN is the caller's, which under AddressSanitizer is its own dlopen. */
static void *load_beside(int how)
{
    static const char here;
    char path[PATH_MAX];
    Dl_info info;
    const char *slash = dladdr(&here, &info) && info.dli_fname ? strrchr(info.dli_fname, '/') : NULL;
    if (!slash || snprintf(path, sizeof path, "%.*s/../xml.so", (int)(slash - info.dli_fname), info.dli_fname) >= (int)sizeof path)
        return NULL;
    return dlopen(path, how);
}

static reader *load(struct err *err)
{
    static reader *loaded;
    if (loaded)
        return loaded;
    /* Beside the object that this is a part of. It stays: whoever has read one document will read more. */
    enum { HOW = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };
    void *object = dlopen("$ORIGIN/../xml.so", HOW);
    if (!object)
        object = load_beside(HOW);
    if (!object) {
        err_set(err, ERR_SYSTEM, "the XML reader can't be loaded: %s; is the installation whole?", dlerror());
        return NULL;
    }
    /* POSIX lets a function's address be read through such a pointer; C alone has no way. */
    *(void **)&loaded = dlsym(object, "xml_read");
    if (!loaded)
        err_set(err, ERR_SYSTEM, "the XML reader can't be used: %s; are parts of two versions installed?", dlerror());
    return loaded;
}

bool xml_read(struct xml_document *document, struct bytes input, const struct xml_limits *limits, struct err *err)
{
    reader *read = load(err);
    if (read)
        return read(document, input, limits, err);
    memset(document, 0, sizeof *document);
    return false;
}
