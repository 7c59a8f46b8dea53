/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Libraries that are loaded at run time. Once loaded, one stays until the end:
 * its handles may be anywhere.
 */
#include "util/lazy-lib.h"

#include <dlfcn.h>
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool lazy_lib_resolve(const LazyLib *lib, void *handle, Error **errp)
{
    for (unsigned i = 0; i < lib->n; i++) {
        lib->slots[i] = dlsym(handle, lib->names[i]);
        if (!lib->slots[i]) {
            error_setg(errp, "Library %s lacks '%s'", lib->soname,
                       lib->names[i]);
            return false;
        }
    }
    return true;
}

static bool lazy_lib_open(LazyLib *lib, Error **errp)
{
    void *handle = dlopen(lib->soname, RTLD_LAZY | RTLD_LOCAL);

    if (!handle) {
        error_setg(errp, "Failed to load a library: %s", dlerror());
        return false;
    }
    lib->loaded = lazy_lib_resolve(lib, handle, errp);
    if (!lib->loaded) {
        dlclose(handle);
    }
    return lib->loaded;
}

bool lazy_lib_load(LazyLib *lib, Error **errp)
{
    bool ok;

    pthread_mutex_lock(&lock);
    ok = lib->loaded || lazy_lib_open(lib, errp);
    pthread_mutex_unlock(&lock);
    return ok;
}
