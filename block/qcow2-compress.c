/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Compressed clusters. The work is done by workers on private buffers, several
 * clusters at once; the loop only reads, writes and links. Whatever order they
 * become ready in, those of a request lie in the file in the order of the disk, and
 * behind those of all requests that came before it: so the next one may be handed
 * over early, and find the CPUs that the last clusters of this one leave idle.
 *
 * A compressed write covers whole clusters (or the last one of the disk). Each
 * is compressed, gets its bytes behind those of the last one, is written, and
 * then linked; a cluster that does not get smaller is written plainly. What the
 * cluster had before is replaced: a backup that is compressed may go into an
 * image that has been used, and be tried again after an error (QEMU says EIO).
 *
 * A cluster of which a part was read is kept decompressed for those who read on.
 * Its L2 entry is its name: that says where the bytes are, and they stay as long
 * as anybody has the entry. Whoever puts others there drops all that is kept.
 */
#include "block/qcow2.h"
#include "block/qcow2-codec.h"

/* Clusters of a request in work at once: all CPUs, and some more that wait or are
 * written. */
#define COMPRESS_MORE 6

typedef struct CodecJob {
    int type;
    void *dst;
    size_t dst_len;
    const void *src;
    size_t src_len;
} CodecJob;

/* The clusters of one request get their bytes in the order of the disk. */
typedef struct Qcow2CompressRun CompressRun;
struct Qcow2CompressRun {
    int64_t next;               /* whose turn it is: offset on the disk */
    int64_t end;                /* nobody's any more */
    CompressRun *before;        /* its clusters come first; NULL: none */
    CompressRun *after;
    CoQueue turn;
};

typedef struct Qcow2Unpacked Qcow2Unpacked;

typedef struct CompressPart {
    Node *node;
    CompressRun *run;
    int64_t off, len;
    const IoVec *iov;
    int64_t iov_off;
} CompressPart;

/* ---- clusters that were read in part ---- */

#define UNPACKED_MAX 4
#define UNPACKED_BYTES MiB              /* but one cluster at least */

struct Qcow2Unpacked {
    struct {
        uint64_t entry;                 /* 0: none */
        uint8_t *data;                  /* a cluster */
    } slot[UNPACKED_MAX];
    unsigned next;
};

void qcow2_unpacked_drop(Qcow2State *s)
{
    for (int i = 0; s->unpacked && i < UNPACKED_MAX; i++) {
        g_free(s->unpacked->slot[i].data);
    }
    g_clear_pointer(&s->unpacked, g_free);
}

static const uint8_t *unpacked_find(const Qcow2State *s, uint64_t entry)
{
    for (int i = 0; s->unpacked && i < UNPACKED_MAX; i++) {
        if (s->unpacked->slot[i].entry == entry) {
            return s->unpacked->slot[i].data;
        }
    }
    return NULL;
}

/* Takes @data over. The oldest goes. */
static void unpacked_keep(Qcow2State *s, uint64_t entry, uint8_t *data)
{
    unsigned n = CLAMP(UNPACKED_BYTES >> s->cluster_bits, 1, UNPACKED_MAX);
    Qcow2Unpacked *u = s->unpacked;

    if (!u) {
        u = s->unpacked = g_new0(Qcow2Unpacked, 1);
    }
    u->next = u->next % n;
    g_free(u->slot[u->next].data);
    u->slot[u->next].entry = entry;
    u->slot[u->next].data = data;
    u->next++;
}

/* ---- reading ---- */

static int64_t job_compress(void *arg)
{
    const CodecJob *job = arg;

    return qcow2_codec_compress(job->type, job->dst, job->dst_len, job->src,
                                job->src_len);
}

static int64_t job_decompress(void *arg)
{
    const CodecJob *job = arg;

    return qcow2_codec_decompress(job->type, job->dst, job->dst_len, job->src,
                                  job->src_len);
}

int qcow2_read_compressed(Co *co, Node *node, uint64_t entry, int64_t skip,
                          int64_t len, const IoVec *iov, int64_t iov_off)
{
    Qcow2State *s = qcow2_state(node);
    const uint8_t *kept = unpacked_find(s, entry);
    g_autofree uint8_t *src = NULL;
    g_autofree uint8_t *dst = NULL;
    int64_t off, src_len;
    CodecJob job;
    int r;

    if (kept) {
        iov_from_buf(iov, iov_off, kept + skip, len);
        return 0;
    }
    qcow2_parse_compressed(s, entry, &off, &src_len);
    src = g_try_malloc(src_len);
    dst = g_try_malloc(s->cluster_size);
    if (!src || !dst) {
        return -ENOMEM;
    }
    qcow2_event(co, node, BLKDBG_READ_COMPRESSED);
    r = io_pread(co, node->file, off, src_len, src, 0);
    if (r < 0) {
        return r;
    }
    job = (CodecJob) { s->hdr.compression_type, dst, s->cluster_size, src,
                       src_len };
    r = worker_compute(co, job_decompress, &job);
    if (r < 0) {
        return r;
    }
    iov_from_buf(iov, iov_off, dst + skip, len);
    if (len < s->cluster_size && !unpacked_find(s, entry)) {
        unpacked_keep(s, entry, g_steal_pointer(&dst));
    }
    return 0;
}

/* ---- writing ---- */

/* Bytes for @len compressed bytes of the cluster at @off, and its place in the
 * list of allocations. With `meta`. */
static int compressed_plan(Co *co, Node *node, Qcow2Alloc *a, int64_t off,
                           int64_t len)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    while (qcow2_alloc_wait(co, node, off, s->cluster_size)) {
        /* Another one may have come. */
    }
    r = qcow2_l2_get_mut(co, node, off, &a->slice, &a->index);
    if (r < 0) {
        return r;
    }
    if (qcow2_alloc_busy(s, off, s->cluster_size)) {
        qcow2_cache_put(a->slice);
        return -EAGAIN;
    }
    a->off = off;
    a->len = s->cluster_size;
    a->host = qcow2_alloc_bytes(co, node, len);
    if (a->host < 0) {
        qcow2_cache_put(a->slice);
        return a->host;
    }
    if (a->host + len > (int64_t)1 << (62 - (s->cluster_bits - 8))) {
        qcow2_free_clusters(co, node, a->host, len, QCOW2_DISCARD_NEVER);
        qcow2_cache_put(a->slice);
        return -EFBIG;
    }
    qcow2_unpacked_drop(s);
    qcow2_alloc_begin(s, a);
    return 0;
}

static void compressed_link(Node *node, const Qcow2Alloc *a, int64_t len)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t old = qcow2_l2_entry(s, a->slice, a->index);
    uint64_t sectors = (a->host + len - 1) / QCOW2_COMPRESSED_SECTOR -
                       a->host / QCOW2_COMPRESSED_SECTOR;

    qcow2_l2_store(s, a->slice, a->index, a->host | QCOW2_COMPRESSED_FLAG |
                   sectors << (62 - (s->cluster_bits - 8)), 0);
    qcow2_free_entry_later(node, old, QCOW2_DISCARD_OTHER);
}

static void turn_wait(Co *co, const CompressPart *p)
{
    while (p->run->before || p->run->next < p->off) {
        co_queue_wait(co, &p->run->turn);
    }
}

static void run_begin(Qcow2State *s, CompressRun *run)
{
    run->before = s->compress_last;
    if (run->before) {
        run->before->after = run;
    }
    s->compress_last = run;
}

/* The next one's turn. May be called again. */
static void run_leave(Qcow2State *s, CompressRun *run)
{
    if (run->after) {
        run->after->before = run->before;
        co_queue_wake_all(&run->after->turn);
    } else if (s->compress_last == run) {
        s->compress_last = run->before;
    }
    if (run->before) {
        run->before->after = run->after;
    }
    run->before = run->after = NULL;
}

/* May be called again. */
static void turn_pass(const CompressPart *p)
{
    CompressRun *run = p->run;

    if (run->next == p->off) {
        run->next += p->len;
        co_queue_wake_all(&run->turn);
        if (run->next == run->end) {
            run_leave(qcow2_state(p->node), run);
        }
    }
}

/* Stores @len compressed bytes for the cluster. */
static int write_bytes(Co *co, const CompressPart *p, const void *buf,
                       int64_t len)
{
    Node *node = p->node;
    Qcow2State *s = qcow2_state(node);
    Qcow2Alloc a = { 0 };
    int r;

    co_mutex_lock(co, &s->meta);
    do {
        r = compressed_plan(co, node, &a, p->off, len);
    } while (r == -EAGAIN);
    co_mutex_unlock(&s->meta);
    turn_pass(p);
    if (r < 0) {
        return r;
    }
    r = qcow2_overlap_check(co, node, QCOW2_OL_NONE, a.host, len, true);
    if (r >= 0) {
        qcow2_event(co, node, BLKDBG_WRITE_COMPRESSED);
        r = io_pwrite(co, node->file, a.host, len, buf, 0);
    }
    if (r >= 0) {
        compressed_link(node, &a, len);
    } else {
        co_mutex_lock(co, &s->meta);
        qcow2_free_clusters(co, node, a.host, len, QCOW2_DISCARD_NEVER);
        co_mutex_unlock(&s->meta);
    }
    qcow2_alloc_end(&a);
    return r;
}

/* The cluster in one piece: where it is, or in *@copy, filled up with zeroes. NULL:
 * no memory. */
static const uint8_t *part_gather(const CompressPart *p, uint8_t **copy)
{
    Qcow2State *s = qcow2_state(p->node);
    struct iovec one;

    if (p->len == s->cluster_size &&
        iov_cut_count(p->iov, p->iov_off, p->len) == 1) {
        iov_cut(p->iov, p->iov_off, p->len, &one);
        return one.iov_base;
    }
    *copy = g_try_malloc(s->cluster_size);
    if (*copy) {
        iov_to_buf(p->iov, p->iov_off, *copy, p->len);
        memset(*copy + p->len, 0, s->cluster_size - p->len);
    }
    return *copy;
}

static int write_part(Co *co, const CompressPart *p)
{
    Qcow2State *s = qcow2_state(p->node);
    g_autofree uint8_t *copy = NULL;
    g_autofree uint8_t *dst = g_try_malloc(s->cluster_size);
    const uint8_t *src = part_gather(p, &copy);
    CodecJob job = { s->hdr.compression_type, dst, s->cluster_size - 1, src,
                     s->cluster_size };
    int64_t n;

    if (!src || !dst) {
        return -ENOMEM;
    }
    n = worker_compute(co, job_compress, &job);
    turn_wait(co, p);
    if (n == -ENOSPC) {
        return qcow2_write(co, p->node, p->off, p->len, p->iov, p->iov_off,
                           0);
    }
    return n < 0 ? n : write_bytes(co, p, dst, n);
}

static int write_part_run(Co *co, void *arg)
{
    g_autofree CompressPart *p = arg;
    int r = write_part(co, p);

    turn_wait(co, p);
    turn_pass(p);
    return r;
}

int qcow2_write_compressed(Co *co, Node *node, int64_t off, int64_t len,
                           const IoVec *iov, int64_t iov_off)
{
    Qcow2State *s = qcow2_state(node);
    CompressRun run = { .next = off, .end = off + len };
    CoGroup group;
    int r;

    if (s->external_data) {
        return -ENOTSUP;
    }
    if (qcow2_in_cluster(s, off) ||
        (qcow2_in_cluster(s, len) && off + len != node->length)) {
        return -EINVAL;
    }
    run_begin(s, &run);
    co_group_init(&group, co_loop(co),
                  g_get_num_processors() + COMPRESS_MORE);
    while (len > 0 && group.ret >= 0) {
        CompressPart *p = g_new(CompressPart, 1);

        *p = (CompressPart) {
            .node = node, .run = &run, .off = off, .len = MIN(len, s->cluster_size),
            .iov = iov, .iov_off = iov_off,
        };
        off += p->len;
        len -= p->len;
        iov_off += p->len;
        co_group_start(co, &group, write_part_run, p);
    }
    r = co_group_wait(co, &group);
    run_leave(s, &run);
    return r;
}
