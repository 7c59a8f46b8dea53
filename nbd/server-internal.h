/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the server's files share.
 *
 *     server.c           listeners, accepting, the life of a connection
 *     server-options.c   the handshake, on the main loop
 *     server-request.c   transmission: receiving and carrying out
 *     server-memory.c    what requests may take for it
 *     server-slices.c    transmission: large requests where memory is short
 *     server-read.c      transmission: reads
 *     server-status.c    transmission: block status
 *     server-reply.c     transmission: sending
 *     meta.c             metadata contexts
 *     coverage.c         what clients have read
 *     export.c           the export type "nbd"
 *
 * A connection is born on the main loop, where it shakes hands and takes a
 * reference of its export. For transmission it walks to the export's loop. At
 * the end it waits for its requests, walks back and lets go.
 */
#ifndef NBD_SERVER_INTERNAL_H
#define NBD_SERVER_INTERNAL_H

#include "block/dirty-bitmap.h"
#include "block/io.h"
#include "nbd/names.h"
#include "nbd/server.h"
#include "nbd/wire.h"
#include "util/budget.h"

typedef struct NbdConn NbdConn;
typedef struct NbdContext NbdContext;
typedef struct NbdCoverage NbdCoverage;
typedef struct NbdCoverageClient NbdCoverageClient;
typedef struct NbdExport NbdExport;
typedef struct NbdReq NbdReq;

/* ---- the server (main loop) ---- */

struct NbdServer {
    char *id;
    NbdServerSettings set;
    char *authz;                /* what set.tls_authz points to */
    GPtrArray *exports;         /* of NbdExport: those that clients may find */
    unsigned exports_alive;     /* with those that are shutting down */
    GPtrArray *conns;           /* of NbdConn */
    Budget *memory;             /* that all connections share (any loop) */
    GArray *listeners;          /* of int; -1 where it has ended */
    GPtrArray *accepting;       /* of Co */
    bool stopping;
    CoQueue changed;            /* woken when a connection or acceptor ends */
};

/* ---- exports ---- */

struct NbdExport {
    BlockExport common;
    NbdServer *server;
    char *name;
    char *description;          /* NULL: none */
    uint16_t flags;             /* transmission flags, but for MULTI_CONN and
                                 * what the handshake decides */
    GPtrArray *contexts;        /* of NbdContext, by position */
    GPtrArray *bitmaps;         /* of DirtyBitmap that it keeps busy */
    GPtrArray *keepers;         /* of Root: one on each bitmap's node */
    GPtrArray *conns;           /* of NbdConn that have entered (main loop) */
    Loop *loop;                 /* the graph's, as the main loop knows it: where
                                 * to begin a walk that root_begin ends */
    GPtrArray *served;          /* of NbdConn in transmission (graph's loop) */
    NbdCoverage *coverage;      /* NULL: it has no bitmaps (graph's loop) */
};

/* What a handshake tells of an export, asked on the graph's loop. Suspends. */
typedef struct NbdExportFacts {
    int64_t size;
    uint32_t min_block;
    uint16_t flags;
} NbdExportFacts;
NbdExportFacts nbd_export_facts(Co *co, NbdExport *exp);

/* While @conn asks for it, or is in transmission: a reference, and if the export is
 * shut down the client is cut off. Main loop. */
void nbd_export_enter(NbdExport *exp, NbdConn *conn);
void nbd_export_leave(NbdExport *exp, NbdConn *conn);

/*
 * Block status through the chain, held as a read would be: what the answer rests
 * on does not change meanwhile (a copy into an overlay of a disk waits for it).
 * At most @len bytes, at most @max extents. How many, or -errno.
 */
int nbd_export_status(Co *co, NbdExport *exp, bool precise, int64_t off,
                      int64_t len, Extent *ret, int max);

/* ---- what clients have read (coverage.c; the graph's loop) ---- */

NbdCoverage *nbd_coverage_new(const GPtrArray *bitmaps, int64_t length);
void nbd_coverage_free(NbdCoverage *c);             /* NULL ok */
/* The disk has this length now. What is cut off has not been read when it
 * returns. */
void nbd_coverage_resize(NbdCoverage *c, int64_t length);
/* The client of @conn, whose export has bitmaps, knows this range. */
void nbd_coverage_note(Co *co, NbdConn *conn, int64_t off, int64_t len);
/* @conn, which has read something, is about to end. */
void nbd_coverage_leave(NbdConn *conn);
NbdCoverageInfoList *nbd_coverage_query(Co *co, NbdCoverage *c);

/* ---- metadata contexts (meta.c) ---- */

/* Extents of one answer, as they are sent; neighbours alike are joined. */
typedef struct NbdExtents NbdExtents;
struct NbdExtents {
    const NbdContext *ctx;      /* whose they are */
    NbdConn *conn;              /* who asks */
    uint64_t len;               /* the last one, which may grow; 0: none yet */
    uint32_t flags;
    bool full;
    unsigned n, max;            /* how many there are, but for the last one */
    unsigned walked;            /* since others of the loop ran, see meta.c */
    uint8_t *buf, *at;          /* they: room for max, and its end */
    size_t size;                /* of buf, which is the connection's pool's */
    NbdExtents *next;           /* another context's */
};
/* False once there is no room for more. */
bool nbd_extents_add(NbdExtents *e, uint64_t len, uint32_t flags);
/* The last one has its length. */
void nbd_extents_end(NbdExtents *e);

struct NbdContext {
    uint32_t id;
    char *name;                 /* "qemu:dirty-bitmap:b0" */
    void *opaque;
    bool unlisted;              /* only for those who ask by its name */
    /* Fills in what is known of [off, off + len), at least one extent. On the
     * export's loop. 0 or -errno. */
    int (*query)(Co *co, NbdExport *exp, const NbdContext *ctx,
                 int64_t off, int64_t len, NbdExtents *out);
};
NbdContext *nbd_context_allocation(void);
NbdContext *nbd_context_depth(void);
/* qemu:joint: bit 0 dirty in a bitmap of the export (always, if it has none),
 * and of what is so: bit 1 zero, bit 2 hole, from bit 8 on the depth. */
NbdContext *nbd_context_joint(void);
NbdContext *nbd_context_bitmap(DirtyBitmap *bm, unsigned index);
void nbd_context_free(NbdContext *ctx);
/* Whether @query asks for @ctx. A bare namespace ("base:", "qemu:",
 * "qemu:dirty-bitmap:") does so only in a list. */
bool nbd_context_matches(const NbdContext *ctx, const char *query,
                         bool listing);

/* ---- connections ---- */

/*
 * Memory for payloads. A connection has NBD_OWN_MEMORY of its own; what its requests
 * in flight take beyond that, up to NBD_MAX_MEMORY in all, is the server's, which
 * all connections share. Where the server has no more the request is carried out
 * alone and in slices (server-slices.c): so nobody waits for memory that
 * another client could hold as long as it likes.
 */
#define NBD_MAX_MEMORY NBD_MAX_PAYLOAD
#define NBD_OWN_MEMORY (128 * KiB)

struct NbdConn {
    /* main loop */
    NbdServer *server;
    Channel *ch;
    bool served;

    /* the handshake's outcome */
    bool fixed, no_zeroes;
    bool structured, extended;
    NbdExport *exp;             /* referenced once transmission begins */
    char *meta_export;          /* that contexts were selected of ... */
    GPtrArray *meta_names;      /* ... by these numbers and names */
    GPtrArray *contexts;        /* of NbdContext, of exp: what it came to */
    char *client;               /* see nbd_conn_client_name */

    /* transmission: the loop that the connection is on */
    Loop *loop;
    bool listed;                /* in exp->served */
    NbdCoverageClient *reads;   /* export's loop; NULL: nothing so far */
    Co *reader;
    bool receiving;             /* the reader waits for the client */
    bool reader_waits;          /* the reader waits for in_flight to fall */
    bool failed;                /* the stream is no use any more */
    unsigned in_flight;
    size_t memory;              /* what they may take, see NbdReq.memory */
    bool memory_waits;          /* the reader waits for some of it */
    uint8_t *rx;                /* received, not parsed: [rx_pos, rx_end) */
    size_t rx_size, rx_pos, rx_end;
    NbdReq *tx_first, **tx_last;    /* replies that are ready */
    size_t tx_len;              /* bytes of them */
    size_t tx_unsent;           /* the same, with those that are being sent */
    CoQueue tx_room;            /* reads that wait for the client to take some */
    bool sending;
    bool send_soon;             /* a sender is on its way */
    NbdReq *free_reqs;
    struct NbdBufPool *pool;
};

/*
 * Who is at the other end; what it opens several connections with is one client.
 * "tls:CN=backup" or the user of a pre-shared key; else "pid:1234" of a Unix
 * socket, "host:192.0.2.1", "vsock:3". Caller frees.
 */
char *nbd_conn_client_name(const NbdConn *conn);

typedef enum NbdHandshake {
    NBD_HANDSHAKE_GO,           /* conn->exp is set and referenced */
    NBD_HANDSHAKE_END,          /* the client left, or is to be left */
} NbdHandshake;
NbdHandshake nbd_handshake(Co *co, NbdConn *conn);

/* Serves until either side ends it. Begins and ends on the main loop. */
void nbd_transmission(Co *co, NbdConn *conn);

/* ---- requests and replies (the connection's loop) ---- */

struct NbdReq {
    NbdConn *conn;
    NbdRequestHeader h;
    void *buf;                  /* payload of a write, data of a read */
    size_t buf_len;
    size_t memory;              /* claimed before it is carried out */
    bool tight;                 /* in vain: it has NBD_OWN_MEMORY */
    /* The reply: headers and small payloads in @head, big ones by reference. */
    uint8_t small[64];
    uint8_t *head;              /* == small or allocated */
    size_t head_len, head_size;
    struct iovec small_iov[4];
    struct iovec *iov;          /* == small_iov or allocated */
    int niov, iov_size;
    size_t reply_len;
    void *owned;                /* freed with the reply */
    NbdExtents *extents;        /* likewise */
    NbdReq *next;
};

/* Carry a request out and build its reply. Suspend. */
void nbd_read_reply(Co *co, NbdReq *req);
void nbd_status_reply(Co *co, NbdReq *req);
/*
 * With a payload (extended headers): how long the range is, then the ids of the
 * contexts that are asked for. A positive errno if it is malformed or names what
 * was not selected, or twice.
 */
int nbd_status_take_payload(NbdReq *req);
/* How long a well-formed one may be. */
size_t nbd_status_payload_max(const NbdConn *conn);
/* What an answer may take, in bytes. It is shorter where @req is tight. */
size_t nbd_status_memory(const NbdReq *req);
/* Frees req->extents. */
void nbd_status_free(NbdReq *req);

/* The error of a read at @off (structured; positive errno), which ends its reply. */
void nbd_read_reply_error(NbdReq *req, int64_t off, int err);

/* A successful reply without payload, or an error (positive errno). */
void nbd_reply_status(NbdReq *req, int err);
/* An error with a message for people; takes @msg over. */
void nbd_reply_error(NbdReq *req, int err, char *msg);
/* Room for @chunks chunks; before the first nbd_reply_chunk. */
void nbd_reply_reserve(NbdReq *req, int chunks);
/* One chunk of a structured reply: @small (up to 16 bytes) is copied, @data is
 * referred to until it is sent. */
void nbd_reply_chunk(NbdReq *req, bool done, uint16_t type, const void *small,
                     size_t small_len, void *data, size_t data_len);
/* The simple reply of a read. */
void nbd_reply_simple_read(NbdReq *req);
/* Waits while the client is far behind with taking replies. */
void nbd_reply_wait_room(Co *co, NbdConn *conn);
/* Queues what has been built, to be sent soon; the request is gone after it. */
void nbd_reply_queue(NbdReq *req);
/* The same, but may send by itself. Suspends. */
void nbd_reply_send(Co *co, NbdReq *req);

NbdReq *nbd_req_new(NbdConn *conn);
void nbd_req_free(NbdReq *req);

/* ---- receiving (the reader, server-request.c) ---- */

/* The next bytes of the stream; false at its end. */
bool nbd_rx_payload(Co *co, NbdConn *conn, void *buf, size_t len);
bool nbd_rx_skip(Co *co, NbdConn *conn, uint64_t len);
/* Waits until a request has gone or a sender has ended. */
void nbd_reader_wait(Co *co, NbdConn *conn);
/* Waits until no more than @in_flight requests are left, and all is sent. */
void nbd_reader_settle(Co *co, NbdConn *conn, unsigned in_flight);

/* ---- memory (the reader, server-memory.c) ---- */

/*
 * Before @len bytes more are taken for @req: waits until others of its connection
 * have given back what goes beyond its limit. False, and req->tight, if the
 * server has no more then; no other request has any either. Suspends.
 */
bool nbd_memory_claim(Co *co, NbdReq *req, size_t len);
/* What @req has claimed. */
void nbd_memory_release(NbdReq *req);

/* ---- tight requests (the reader, server-slices.c); suspend ---- */

/* Receives and writes the payload. 0, a positive errno, or -1 if the stream is
 * no use any more. */
int nbd_slices_write(Co *co, NbdReq *req);
/* Reads and answers; the request is gone after it. */
void nbd_slices_read(Co *co, NbdReq *req);

/* nbd/bufpool.c: payload buffers, reused by size class, aligned for O_DIRECT. Of what it
 * keeps, 4 MiB at most, all but NBD_OWN_MEMORY is taken from @memory while there is
 * plenty. NULL if memory is short. */
typedef struct NbdBufPool NbdBufPool;
NbdBufPool *nbd_bufpool_new(Budget *memory);
/* What a buffer of @len bytes really takes. */
size_t nbd_bufpool_room(size_t len);
void nbd_bufpool_free(NbdBufPool *pool);
void *nbd_bufpool_get(NbdBufPool *pool, size_t len);
void nbd_bufpool_put(NbdBufPool *pool, void *buf, size_t len);

#endif
