/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The protocol's numbers as words, for messages, and errno to and fro. */
#ifndef NBD_NAMES_H
#define NBD_NAMES_H

#include "nbd/proto.h"

const char *nbd_opt_name(uint32_t option);
const char *nbd_cmd_name(uint16_t cmd);
/* @err positive; what has no word in the protocol is NBD_EINVAL. */
uint32_t nbd_error_from_errno(int err);

#endif
