/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * libnbd, loaded when it is first needed (util/lazy-lib.h). Included in place
 * of libnbd.h; a function that is used must stand in both lists.
 */
#ifndef BLOCK_NBD_LIB_H
#define BLOCK_NBD_LIB_H

#include <libnbd.h>

#include "util/lazy-lib.h"

#define NBD_LIB(X) \
    X(nbd_add_meta_context) X(nbd_aio_block_status) X(nbd_aio_cache) \
    X(nbd_aio_connect_socket) X(nbd_aio_disconnect) X(nbd_aio_flush) \
    X(nbd_aio_get_direction) X(nbd_aio_get_fd) X(nbd_aio_is_closed) \
    X(nbd_aio_is_connecting) X(nbd_aio_is_dead) X(nbd_aio_is_ready) \
    X(nbd_aio_notify_read) X(nbd_aio_notify_write) X(nbd_aio_pread) \
    X(nbd_aio_pwrite) X(nbd_aio_trim) X(nbd_aio_zero) X(nbd_can_cache) \
    X(nbd_can_df) X(nbd_can_fast_zero) X(nbd_can_flush) X(nbd_can_fua) \
    X(nbd_can_meta_context) X(nbd_can_multi_conn) X(nbd_can_trim) \
    X(nbd_can_zero) X(nbd_clear_debug_callback) X(nbd_close) \
    X(nbd_connect_socket) X(nbd_create) X(nbd_get_block_size) \
    X(nbd_get_errno) X(nbd_get_error) X(nbd_get_private_data) X(nbd_get_size) X(nbd_is_read_only) \
    X(nbd_is_rotational) X(nbd_opt_abort) X(nbd_opt_info) X(nbd_opt_list) \
    X(nbd_opt_list_meta_context) X(nbd_set_debug) X(nbd_set_debug_callback) \
    X(nbd_set_export_name) X(nbd_set_full_info) X(nbd_set_opt_mode) \
    X(nbd_set_private_data)

extern struct NbdLib {
    NBD_LIB(LAZY_SLOT)
} nbd_lib;

/* Before the first of these functions is called. Any thread. */
bool nbd_lib_load(Error **errp);

#define nbd_add_meta_context nbd_lib.nbd_add_meta_context
#define nbd_aio_block_status nbd_lib.nbd_aio_block_status
#define nbd_aio_cache nbd_lib.nbd_aio_cache
#define nbd_aio_connect_socket nbd_lib.nbd_aio_connect_socket
#define nbd_aio_disconnect nbd_lib.nbd_aio_disconnect
#define nbd_aio_flush nbd_lib.nbd_aio_flush
#define nbd_aio_get_direction nbd_lib.nbd_aio_get_direction
#define nbd_aio_get_fd nbd_lib.nbd_aio_get_fd
#define nbd_aio_is_closed nbd_lib.nbd_aio_is_closed
#define nbd_aio_is_connecting nbd_lib.nbd_aio_is_connecting
#define nbd_aio_is_dead nbd_lib.nbd_aio_is_dead
#define nbd_aio_is_ready nbd_lib.nbd_aio_is_ready
#define nbd_aio_notify_read nbd_lib.nbd_aio_notify_read
#define nbd_aio_notify_write nbd_lib.nbd_aio_notify_write
#define nbd_aio_pread nbd_lib.nbd_aio_pread
#define nbd_aio_pwrite nbd_lib.nbd_aio_pwrite
#define nbd_aio_trim nbd_lib.nbd_aio_trim
#define nbd_aio_zero nbd_lib.nbd_aio_zero
#define nbd_can_cache nbd_lib.nbd_can_cache
#define nbd_can_df nbd_lib.nbd_can_df
#define nbd_can_fast_zero nbd_lib.nbd_can_fast_zero
#define nbd_can_flush nbd_lib.nbd_can_flush
#define nbd_can_fua nbd_lib.nbd_can_fua
#define nbd_can_meta_context nbd_lib.nbd_can_meta_context
#define nbd_can_multi_conn nbd_lib.nbd_can_multi_conn
#define nbd_can_trim nbd_lib.nbd_can_trim
#define nbd_can_zero nbd_lib.nbd_can_zero
#define nbd_clear_debug_callback nbd_lib.nbd_clear_debug_callback
#define nbd_close nbd_lib.nbd_close
#define nbd_connect_socket nbd_lib.nbd_connect_socket
#define nbd_create nbd_lib.nbd_create
#define nbd_get_block_size nbd_lib.nbd_get_block_size
#define nbd_get_errno nbd_lib.nbd_get_errno
#define nbd_get_error nbd_lib.nbd_get_error
#define nbd_get_private_data nbd_lib.nbd_get_private_data
#define nbd_get_size nbd_lib.nbd_get_size
#define nbd_is_read_only nbd_lib.nbd_is_read_only
#define nbd_is_rotational nbd_lib.nbd_is_rotational
#define nbd_opt_abort nbd_lib.nbd_opt_abort
#define nbd_opt_info nbd_lib.nbd_opt_info
#define nbd_opt_list nbd_lib.nbd_opt_list
#define nbd_opt_list_meta_context nbd_lib.nbd_opt_list_meta_context
#define nbd_set_debug nbd_lib.nbd_set_debug
#define nbd_set_debug_callback nbd_lib.nbd_set_debug_callback
#define nbd_set_export_name nbd_lib.nbd_set_export_name
#define nbd_set_full_info nbd_lib.nbd_set_full_info
#define nbd_set_opt_mode nbd_lib.nbd_set_opt_mode
#define nbd_set_private_data nbd_lib.nbd_set_private_data

#endif
