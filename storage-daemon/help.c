/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What the program says about itself. */

#include "options.h"

#include "config-host.h"
#include "monitor/chardev.h"
#include "monitor/object.h"

static const char usage[] =
"Serves disks of files and images, backs them up, and keeps track of what has\n"
"changed; driven by options and over QMP.\n"
"\n"
"  -h, --help        print this and end\n"
"  -V, --version     print the version and end\n"
"  -T, --trace [[enable=]PATTERN][,events=FILE][,file=FILE]\n"
"                    accepted; there are no trace events\n"
"\n"
"Options that set something up are carried out one after the other. Each but\n"
"--chardev may also be given as JSON: '{\"driver\": \"null-co\", ...}'.\n"
"\n"
"  --blockdev [driver=]DRIVER,node-name=NAME[,read-only=on|off]\n"
"             [,auto-read-only=on|off][,force-share=on|off]\n"
"             [,cache.direct=on|off][,cache.no-flush=on|off]\n"
"             [,discard=ignore|unmap][,detect-zeroes=on|off|unmap]\n"
"             [,active=on|off][,option of the driver=VALUE...]\n"
"                    open a node of the block graph\n"
"  --chardev socket,id=ID,path=PATH[,abstract=on|off][,tight=on|off][,SOCKET]\n"
"  --chardev socket,id=ID,host=HOST,port=PORT[,to=PORT][,ipv4=on|off]\n"
"             [,ipv6=on|off][,nodelay=on|off][,tls-creds=ID][,tls-authz=ID]\n"
"             [,SOCKET]\n"
"  --chardev socket,id=ID,fd=NUMBER[,SOCKET]\n"
"             SOCKET: [server=on|off][,wait=on|off][,reconnect=SECONDS]\n"
"  --chardev stdio,id=ID[,signal=on|off]\n"
"                    where a monitor finds its clients\n"
"  --daemonize       go into the background when all is set up\n"
"  --export [type=]nbd,id=ID,node-name=NODE[,name=NAME][,description=TEXT]\n"
"             [,writable=on|off][,writethrough=on|off][,bitmaps.0=BITMAP...]\n"
"             [,allocation-depth=on|off][,server=ID][,iothread=ID]\n"
"             [,fixed-iothread=on|off][,allow-inactive=on|off]\n"
"                    serve a node over NBD; comes after --nbd-server\n"
"  --monitor [chardev=]CHARDEV[,id=ID][,mode=control][,pretty=on|off]\n"
"                    speak QMP with the clients of a character device\n"
"  --nbd-server addr.type=unix,addr.path=PATH[,addr.abstract=on|off]\n"
"             [,addr.tight=on|off][,LIMITS]\n"
"  --nbd-server addr.type=inet,addr.host=HOST,addr.port=PORT[,addr.to=PORT]\n"
"             [,addr.ipv4=on|off][,addr.ipv6=on|off][,addr.numeric=on|off]\n"
"             [,addr.keep-alive=on|off][,addr.mptcp=on|off][,LIMITS]\n"
"  --nbd-server addr.type=vsock,addr.cid=CID,addr.port=PORT[,LIMITS]\n"
"  --nbd-server addr.type=fd,addr.str=NUMBER[,LIMITS]\n"
"             LIMITS: [id=ID][,tls-creds=ID][,tls-authz=ID]\n"
"             [,max-connections=N][,handshake-max-seconds=N]\n"
"             [,max-requests=N][,max-memory=N]\n"
"                    start an NBD server\n"
"  --object help     print the types of objects\n"
"  --object TYPE,help\n"
"                    print the properties of a type\n"
"  --object [qom-type=]TYPE,id=ID[,PROPERTY=VALUE...]\n"
"                    make an object, such as a thread (iothread)\n"
"  --pidfile PATH    keep the process id in a file\n";

void help_print(const char *program)
{
    printf("Usage: %s [options]\n%s", program, usage);
}

void help_print_version(void)
{
    printf("qemu-storage-daemon version %s (%s)\n"
           "Copyright (c) 2026 The project's contributors\n", QEMU_VERSION,
           QEMU_PACKAGE);
}

void help_print_chardevs(void)
{
    printf("Available chardev backend types: \n");
    for (int i = 0; chardev_backends[i]; i++) {
        printf("  %s\n", chardev_backends[i]);
    }
}

void help_print_objects(void)
{
    printf("List of user creatable objects:\n");
    for (int i = 0; i < OBJECT_TYPE__MAX; i++) {
        printf("  %s\n", ObjectType_str(i));
    }
}

void help_print_object(const char *type)
{
    int t = ObjectType_parse(type, -1, NULL);

    if (t < 0) {
        help_print_objects();
        return;
    }
    printf("%s options:\n", type);
    for (const ObjectProperty *p = object_properties(t); p->name; p++) {
        printf("  %s=<%s>\n", p->name, p->type);
    }
}
