/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* An NBD client's first words: may we have TLS? */
#ifndef BLOCK_NBD_STARTTLS_H
#define BLOCK_NBD_STARTTLS_H

#include "util/channel.h"
#include "util/error.h"

#define NBD_GREETING_SIZE 18

/*
 * Takes the server's greeting (NBD protocol, "Newstyle negotiation"), and asks for
 * TLS by NBD_OPT_STARTTLS. True: the TLS handshake is due. @greeting is filled
 * in. Suspends; on the loop of @ch.
 */
bool nbd_starttls(Co *co, Channel *ch, uint8_t greeting[NBD_GREETING_SIZE],
                  Error **errp);

#endif
