/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A QMP session: three coroutines around two buffers.
 *
 *     reader  ---- requests ---->  worker  ---- out ---->  writer
 *                  (a queue)                   (bytes)
 *
 * The reader stops reading while QUEUE_MAX requests wait, the worker stops
 * taking requests while more than OUT_PAUSE bytes wait to be written, and the
 * reader, too, when it is twice as much, which only answers out of band can make
 * it; so what a client can make us keep is bounded, and one that does not read its
 * answers holds up nobody else. Events can't wait: who does not take them until
 * OUT_MAX bytes have piled up is hung up on.
 *
 * What can't be parsed stands in the queue as an error, so that the answers
 * keep the order of the requests. Requests out of band jump the queue, each in
 * a coroutine of its own.
 *
 * The end: the stream ends (the reader ends) or writing fails (`dead`; the
 * writer ends the stream and discards what follows). The worker answers what
 * is left, the writer writes what is left; who ends last frees the session.
 */
#include "session.h"

#include "dispatch.h"
#include "qapi/qapi-commands.h"

#define QUEUE_MAX   8
#define OUT_PAUSE   MiB
#define OUT_MAX     (64 * MiB)
#define READ_SIZE   (16 * KiB)
#define FLUSH_NS    (1000 * 1000 * 1000)

/* One of the two is set. */
typedef struct Request {
    json_t *value;
    Error *err;
} Request;

struct Session {
    Channel *ch;
    bool pretty;
    Dispatch dispatch;
    JsonStream *stream;
    GQueue requests;            /* of Request */
    unsigned oob;               /* requests out of band under way */
    GByteArray *out;
    bool eof;                   /* the reader has ended */
    bool worked;                /* no more answers will come */
    bool dead;                  /* nobody reads them */
    bool writing;
    CoQueue reader_wait, worker_wait, writer_wait;
    int refs;                   /* coroutines */
    LoopFn *hung_up;
    void *opaque;
    GList link;
};

static GQueue sessions;         /* of Session */
static bool sessions_stopped;
static unsigned session_count;
static SessionEndFn *session_end;
static CoSleep finish_sleep;    /* session_finish_all() */

static void request_free(Request *req)
{
    json_decref(req->value);
    error_free(req->err);
    g_free(req);
}

static void session_unref(Session *s)
{
    if (--s->refs) {
        return;
    }
    if (session_end) {
        session_end(s->dispatch.number);
    }
    g_queue_unlink(&sessions, &s->link);
    while (!g_queue_is_empty(&s->requests)) {
        request_free(g_queue_pop_head(&s->requests));
    }
    json_stream_free(s->stream);
    g_byte_array_free(s->out, true);
    channel_free(s->ch);
    g_free(s);
    co_sleep_wake(&finish_sleep);
}

/* ---- writing ---- */

static void session_hang_up(Session *s)
{
    s->dead = true;
    g_byte_array_set_size(s->out, 0);
    channel_shutdown(s->ch);
    co_queue_wake_all(&s->reader_wait);
    co_queue_wake_all(&s->worker_wait);
    co_queue_wake_all(&s->writer_wait);
}

/* Lines end as on a terminal. */
static void session_append(Session *s, const char *text)
{
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        g_byte_array_append(s->out, (const guint8 *)text, end - text);
        g_byte_array_append(s->out, (const guint8 *)"\r\n", 2);
    }
    g_byte_array_append(s->out, (const guint8 *)text, strlen(text));
    g_byte_array_append(s->out, (const guint8 *)"\r\n", 2);
}

static void session_send(Session *s, const json_t *message)
{
    g_autofree char *text = NULL;

    if (s->dead) {
        return;
    }
    text = s->pretty ? json_format_pretty(message) : json_format(message);
    session_append(s, text);
    co_queue_wake_all(&s->writer_wait);
}

static void session_writer(Co *co, void *opaque)
{
    Session *s = opaque;

    while (s->out->len || !s->worked) {
        GByteArray *now = s->out;

        if (!now->len) {
            co_queue_wait(co, &s->writer_wait);
            continue;
        }
        s->out = g_byte_array_new();
        s->writing = true;
        if (!s->dead && channel_write_all(co, s->ch, now->data,
                                          now->len) < 0) {
            session_hang_up(s);
        }
        s->writing = false;
        g_byte_array_free(now, true);
        co_queue_wake_all(&s->reader_wait);
        co_queue_wake_all(&s->worker_wait);
        co_sleep_wake(&finish_sleep);
    }
    /* Who waits for our end of the stream gets it. */
    channel_shutdown(s->ch);
    session_unref(s);
}

/* ---- working ---- */

static void session_answer(Co *co, Session *s, json_t *request)
{
    json_t *answer = dispatch_request(co, &s->dispatch, request);

    if (answer) {
        session_send(s, answer);
        json_decref(answer);
    }
}

static void session_work_one(Co *co, Session *s)
{
    Request *req = g_queue_pop_head(&s->requests);

    co_queue_wake_all(&s->reader_wait);
    if (req->err) {
        json_t *answer = dispatch_error(g_steal_pointer(&req->err), NULL);

        session_send(s, answer);
        json_decref(answer);
    } else {
        session_answer(co, s, req->value);
    }
    request_free(req);
}

static bool session_must_wait(const Session *s)
{
    if (s->eof && g_queue_is_empty((GQueue *)&s->requests)) {
        return false;
    }
    return sessions_stopped ? !s->eof
                            : g_queue_is_empty((GQueue *)&s->requests) ||
                              (!s->dead && s->out->len > OUT_PAUSE);
}

static void session_worker(Co *co, void *opaque)
{
    Session *s = opaque;

    for (;;) {
        if (session_must_wait(s)) {
            co_queue_wait(co, &s->worker_wait);
        } else if (sessions_stopped || g_queue_is_empty(&s->requests)) {
            break;
        } else {
            session_work_one(co, s);
        }
    }
    s->worked = true;
    co_queue_wake_all(&s->writer_wait);
    session_unref(s);
}

/* ---- out of band ---- */

typedef struct OobRequest {
    Session *s;
    json_t *value;
} OobRequest;

static void session_oob(Co *co, void *opaque)
{
    g_autofree OobRequest *oob = opaque;

    session_answer(co, oob->s, oob->value);
    json_decref(oob->value);
    oob->s->oob--;
    co_queue_wake_all(&oob->s->reader_wait);
    session_unref(oob->s);
}

/* ---- reading ---- */

static void session_take(void *opaque, json_t *value, Error *err)
{
    Session *s = opaque;
    Request *req;

    if (value && !sessions_stopped && dispatch_is_oob(&s->dispatch, value)) {
        OobRequest *oob = g_new(OobRequest, 1);

        *oob = (OobRequest){ s, value };
        s->refs++;
        s->oob++;
        co_spawn(loop_main(), session_oob, oob);
        return;
    }
    req = g_new(Request, 1);
    *req = (Request){ value, err };
    g_queue_push_tail(&s->requests, req);
    co_queue_wake_all(&s->worker_wait);
}

static bool session_is_full(const Session *s)
{
    return !s->dead && (s->requests.length >= QUEUE_MAX ||
                        s->oob >= QUEUE_MAX || s->out->len > 2 * OUT_PAUSE);
}

static void session_reader(Co *co, void *opaque)
{
    Session *s = opaque;
    char *buf = g_malloc(READ_SIZE);
    ssize_t n;

    while ((n = channel_read(co, s->ch, buf, READ_SIZE)) > 0) {
        json_stream_feed(s->stream, buf, n);
        while (session_is_full(s)) {
            co_queue_wait(co, &s->reader_wait);
        }
    }
    g_free(buf);
    s->eof = true;
    co_queue_wake_all(&s->worker_wait);
    if (s->hung_up) {
        s->hung_up(s->opaque);
    }
    session_unref(s);
}

/* ---- life ---- */

static json_t *session_greeting(void)
{
    g_autoptr(VersionInfo) version = NULL;

    qmp_query_version(NULL, &version, &error_abort);
    return json_pack("{s:{s:o,s:[s]}}", "QMP",
                     "version", VersionInfo_to_json(version),
                     "capabilities", QMPCapability_str(QMP_CAPABILITY_OOB));
}

void session_start(Channel *ch, bool pretty, LoopFn *hung_up, void *opaque)
{
    g_autoptr(json_t) greeting = session_greeting();
    Session *s = g_new0(Session, 1);

    s->ch = ch;
    s->pretty = pretty;
    s->stream = json_stream_new(session_take, s);
    s->out = g_byte_array_new();
    s->hung_up = hung_up;
    s->opaque = opaque;
    s->refs = 3;
    s->dispatch.number = ++session_count;
    s->link.data = s;
    g_queue_push_tail_link(&sessions, &s->link);
    session_send(s, greeting);
    co_spawn(loop_main(), session_reader, s);
    co_spawn(loop_main(), session_worker, s);
    co_spawn(loop_main(), session_writer, s);
}

void session_set_end(SessionEndFn *fn)
{
    session_end = fn;
}

void session_send_event(const json_t *event)
{
    for (GList *l = sessions.head; l; l = l->next) {
        Session *s = l->data;

        if (s->dispatch.negotiated && !s->worked) {
            session_send(s, event);
            if (s->out->len > OUT_MAX) {
                session_hang_up(s);
            }
        }
    }
}

void session_stop_all(void)
{
    sessions_stopped = true;
}

static bool sessions_have_output(void)
{
    for (GList *l = sessions.head; l; l = l->next) {
        const Session *s = l->data;

        if (s->writing || s->out->len) {
            return true;
        }
    }
    return false;
}

static bool sessions_are_there(void)
{
    return !g_queue_is_empty(&sessions);
}

static void sessions_wait_while(Co *co, bool (*condition)(void))
{
    int64_t deadline = clock_ns() + FLUSH_NS;
    int64_t left = FLUSH_NS;

    while (left > 0 && condition()) {
        co_sleep_ns(co, &finish_sleep, left);
        left = deadline - clock_ns();
    }
}

void session_finish_all(Co *co)
{
    sessions_wait_while(co, sessions_have_output);
    for (GList *l = sessions.head; l; l = l->next) {
        Session *s = l->data;

        s->hung_up = NULL;
        session_hang_up(s);
    }
    sessions_wait_while(co, sessions_are_there);
    sessions_stopped = false;
}
