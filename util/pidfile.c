/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The lock, not the file, says that somebody is alive. Who ends removes the
 * file while it holds the lock; so who has got the lock looks whether the file
 * still has its name, and begins again if not.
 */
#include "util/pidfile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *pidfile_path;      /* absolute: we may leave the folder */

static int pidfile_open_locked(const char *path, Error **errp)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not create '%s'", path);
        return -1;
    }
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        error_setg_errno(errp, errno, "Cannot lock pid file");
        close(fd);
        return -1;
    }
    return fd;
}

static bool pidfile_has_name(int fd, const char *path)
{
    struct stat mine, named;

    return fstat(fd, &mine) == 0 && stat(path, &named) == 0 &&
           mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

static bool pidfile_write(int fd, Error **errp)
{
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    ssize_t len = strlen(text);

    if (ftruncate(fd, 0) < 0) {
        error_setg_errno(errp, errno, "Failed to truncate pid file");
        return false;
    }
    if (write(fd, text, len) != len) {
        error_setg_errno(errp, errno, "Failed to write pid file");
        return false;
    }
    return true;
}

bool pidfile_create(const char *path, Error **errp)
{
    int fd = pidfile_open_locked(path, errp);

    while (fd >= 0 && !pidfile_has_name(fd, path)) {
        close(fd);
        fd = pidfile_open_locked(path, errp);
    }
    if (fd < 0) {
        return false;
    }
    if (!pidfile_write(fd, errp)) {
        unlink(path);
        close(fd);
        return false;
    }
    /* The descriptor stays open for the lock. */
    pidfile_path = g_canonicalize_filename(path, NULL);
    return true;
}

void pidfile_remove(void)
{
    if (pidfile_path) {
        unlink(pidfile_path);
        g_clear_pointer(&pidfile_path, g_free);
    }
}
