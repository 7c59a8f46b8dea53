#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""The steps of scripts/check. Each step is a build or a suite; suites are
counted, builds count as one test each. A step that fails does not stop the
others, unless they need its build."""

import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
os.chdir(ROOT)

WERROR = ['-Dwerror=true', '-Dwarning_level=2']
BUILDS = {
    'gcc': ('gcc', WERROR),
    # With libFuzzer's targets beside all the rest.
    'asan': ('clang', WERROR + ['-Db_sanitize=address,undefined',
                                '-Dfuzz=enabled', '-Db_lundef=false',
                                '-Doptimization=1']),
    'tsan': ('gcc', WERROR + ['-Db_sanitize=thread', '-Doptimization=1']),
}
# Clang 14 guesses wrongly where glibc 2.36 keeps the thread's own data of
# libraries that come later, and its search for leaks then crashes there.
SANITIZER_ENV = {
    'ASAN_OPTIONS': 'detect_leaks=1:detect_stack_use_after_return=0:'
                    'intercept_tls_get_addr=0',
    'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
    'IOTEST_SLOW': '3',
}
# It writes zeroes to all that calloc() gives: for the counts of a sparse file of
# terabytes there is no memory, then.  It lets each program sleep for a second at
# its end, in case that others race with that; a tenth is as good.
TSAN_ENV = {
    'TSAN_OPTIONS': 'halt_on_error=0:exitcode=66:atexit_sleep_ms=100:'
                    'max_allocation_size_mb=2048:allocator_may_return_null=1',
    'IOTEST_SLOW': '6',
}
# Its threads take turns, whatever else the machine does: one that waits for
# another's work would starve it.
VALGRIND = ['valgrind', '-q', '--fair-sched=try', '--error-exitcode=9',
            '--leak-check=full', '--errors-for-leak-kinds=definite',
            f'--suppressions={ROOT}/tests/valgrind.supp']


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []

    def add(self, passed, failed, skipped):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped


counts = Counts()
built = {}


def run(argv, env=None, log=None):
    """Runs; the output goes to `log` (a path) or through. Returns the code."""
    environ = dict(os.environ, **(env or {}))
    if log:
        with open(log, 'w') as out:
            return subprocess.run(argv, env=environ, stdin=subprocess.DEVNULL,
                                  stdout=out,
                                  stderr=subprocess.STDOUT).returncode
    return subprocess.run(argv, env=environ,
                          stdin=subprocess.DEVNULL).returncode


def tail(log, lines=40):
    with open(log, errors='replace') as f:
        print(''.join(f.readlines()[-lines:]))


def build(name):
    """Configures and builds once; counts as one test."""
    if name in built:
        return built[name]
    compiler, options = BUILDS[name]
    folder, log = f'build-{name}', f'build-{name}.log'
    start = time.monotonic()
    ok = os.path.exists(f'{folder}/build.ninja') or run(
        ['meson', 'setup', folder, *options], {'CC': compiler}, log) == 0
    ok = ok and run(['ninja', '-C', folder], log=log) == 0
    print(f'build {name}: {"ok" if ok else "FAILED"} '
          f'({time.monotonic() - start:.0f} s)', flush=True)
    if not ok:
        tail(log)
    counts.add(int(ok), int(not ok), 0)
    built[name] = ok
    return ok


def meson_suites(name, title, which, env=None, how=(), patience=4):
    """Unit tests, checks and the like: each program counts as one."""
    if not build(name):
        return
    folder = f'build-{name}'
    log = f'{folder}/meson-logs/check.log'
    run(['meson', 'test', '-C', folder, '--timeout-multiplier', str(patience),
         *how, *which], env, log)
    passed = failed = skipped = 0
    bad = []
    # With a wrapper its name is in that of the log.
    logs = glob.glob(f'{folder}/meson-logs/testlog*.json')
    with open(max(logs, key=os.path.getmtime)) as f:
        for line in f:
            test = json.loads(line)
            if test['result'] in ('OK', 'EXPECTEDFAIL'):
                passed += 1
            elif test['result'] == 'SKIP':
                skipped += 1
                print(f'  skipped: {test["name"]}')
            else:
                failed += 1
                bad.append(test)
    for test in bad:
        print(f'  FAILED: {test["name"]}')
        print((test.get('stdout', '') + test.get('stderr', ''))[-3000:])
        # Once more by itself: a test that then passes is unstable, not wrong.
        short = test['name'].split(' / ')[-1]
        if run(['meson', 'test', '-C', folder, '--no-rebuild',
                '--timeout-multiplier', str(2 * patience), *how, short], env,
               f'{folder}/meson-logs/again.log') == 0:
            counts.notes.append(f'{title} ({name}): {short}')
            failed -= 1
            passed += 1
    print(f'{title} ({name}): {passed} passed, {failed} failed, '
          f'{skipped} skipped', flush=True)
    counts.add(passed, failed, skipped)


def iotests(title, args, name=None, env=None):
    """One run of tests/qemu-iotests/check, against a build or the peer."""
    if name and not build(name):
        return
    where = ['--build', f'build-{name}'] if name else ['--peer']
    log = f'iotests-{re.sub("[^a-z0-9]+", "-", title)}.log'
    # One more than there are processors, as most of a test's time is waiting.
    code = run(['tests/qemu-iotests/check', '-j', str(os.cpu_count() + 1),
                *where, *args], env, log)
    with open(log, errors='replace') as f:
        text = f.read()
    found = re.findall(r'^(\d+) passed, (\d+) failed, (\d+) skipped', text,
                       re.M)
    if not found:
        print(f'iotests {title}: no result (exit code {code})')
        tail(log)
        counts.add(0, 1, 0)
        return
    passed, failed, skipped = map(int, found[-1])
    print(f'iotests {title}: {passed} passed, {failed} failed, '
          f'{skipped} skipped', flush=True)
    if failed:
        tail(log, 200)
        names = re.findall(r'^fail (\S+)', text, re.M)
        again = [re.sub(r'-(qcow2|raw|nbd)$', '', n) for n in names]
        if again and run(['tests/qemu-iotests/check', '-j', '1', *where, *args,
                          *again], env, log) == 0:
            counts.notes.extend(f'{title}: {n}' for n in names)
            passed, failed, code = passed + failed, 0, 0
    elif code:
        tail(log, 200)
    else:
        print(text[text.find('Skipped:'):].rsplit('\n', 2)[0]
              if 'Skipped:' in text else '', flush=True)
    counts.add(passed, failed + (1 if code and not failed else 0), skipped)


def sanitized(name, env, runs):
    """The iotests against a sanitizer's build, by format and engine."""
    for fmt, engine in runs:
        iotests(f'{name} {engine} {fmt}', [f'-{fmt}'], name,
                dict(env, BLOCK_LOOP=engine))


def tap(title, argv, name='gcc', env=None):
    """A test program that speaks TAP."""
    if not build(name):
        return
    log = f'build-{name}/meson-logs/{title}.log'
    code = run([*argv, '--build', f'build-{name}'], env, log)
    with open(log, errors='replace') as f:
        text = f.read()
    passed = len(re.findall(r'^ok ', text, re.M))
    failed = len(re.findall(r'^not ok ', text, re.M))
    why = re.findall(r'^1\.\.0 # SKIP (.*)', text, re.M)
    failed = max(failed, 1 if code else 0)
    print(f'{title}: {passed} passed, {failed} failed, {len(why)} skipped '
          f'{" ".join(why)}', flush=True)
    if failed:
        tail(log)
    counts.add(passed, failed, len(why))


def fuzz_start(target, folder, seconds):
    """libFuzzer, which keeps what it finds in the folder."""
    new = f'{folder}/corpus'
    os.makedirs(new, exist_ok=True)
    with open(f'{folder}/log', 'w') as log:
        return subprocess.Popen(
            [f'build-asan/tests/fuzz/fuzz-{target}',
             # By the clock, on machines that do other things meanwhile.
             f'-max_total_time={seconds}', '-timeout=120',
             '-rss_limit_mb=4096', '-close_fd_mask=1',
             f'-artifact_prefix={folder}/', new,
             f'tests/fuzz/corpus/{target}'],
            env=dict(os.environ, **SANITIZER_ENV), stdout=log,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def fuzz_end(target, folder, process):
    """Waits for it; counts as one test.  Without a last line of figures it
    has not run as it should, whatever its exit code."""
    code = process.wait()
    with open(f'{folder}/log', errors='replace') as f:
        text = f.read()
    done = re.findall(r'^#(\d+)\s+DONE\s+cov: (\d+)', text, re.M)
    found = [name for name in re.findall(r'Test unit written to (\S+)', text)
             if '/slow-unit-' not in name]
    if code or found or not done:
        print(f'fuzz {target}: FAILED (exit code {code}), the input is '
              f'{" ".join(found) or "not known"}')
        tail(f'{folder}/log', 60)
        counts.add(0, 1, 0)
    else:
        print(f'fuzz {target}: ok, {done[-1][0]} runs, coverage '
              f'{done[-1][1]}', flush=True)
        counts.add(1, 0, 0)


def fuzz(seconds):
    """libFuzzer on every target, two at a time."""
    if not build('asan'):
        return
    targets = sorted(os.listdir('tests/fuzz/corpus'))
    for i in range(0, len(targets), 2):
        running = []
        for target in targets[i:i + 2]:
            folder = f'build-asan/fuzz-{target}'
            running.append((target, folder,
                            fuzz_start(target, folder, seconds)))
        for each in running:
            fuzz_end(*each)


def unit_other(name, title, env=None, how=(), patience=4):
    """The unit tests that say no engine themselves, with the one that is not
    the default."""
    if not build(name):
        return
    with open(f'build-{name}/meson-info/intro-tests.json') as f:
        which = [test['name'] for test in json.load(f)
                 if any(s.endswith('unit') for s in test['suite'])
                 and 'BLOCK_LOOP' not in test['env']]
    meson_suites(name, f'{title}, epoll', which,
                 dict(env or {}, BLOCK_LOOP='epoll'), how, patience)


def valgrind():
    """The unit tests, on both engines."""
    how = ['--wrapper', ' '.join(VALGRIND)]
    env = {'MALLOC_PERTURB_': '0'}
    meson_suites('gcc', 'valgrind', ['--suite', 'unit'], env, how, 20)
    unit_other('gcc', 'valgrind', env, how, 20)


STEPS = {
    'unit': lambda: meson_suites('gcc', 'all but iotests', [
        '--no-suite', 'iotests', '--no-suite', 'peer',
        '--no-suite', 'guest']),
    'qcow2': lambda: iotests('qcow2', ['-qcow2'], 'gcc'),
    'raw': lambda: iotests('raw', ['-raw'], 'gcc'),
    'nbd': lambda: iotests('nbd', ['-nbd'], 'gcc'),
    'peer': lambda: [iotests(f'peer {f}', [f'-{f}'])
                     for f in ('qcow2', 'raw', 'nbd')],
    # From here on with --full.
    'asan-unit': lambda: meson_suites('asan', 'sanitizers', [
        '--suite', 'unit', '--suite', 'random', '--suite', 'fuzz'],
        SANITIZER_ENV),
    # The loop's twin on epoll is proven here, too.
    'asan': lambda: sanitized('asan', SANITIZER_ENV, [
        ('qcow2', 'epoll'), ('raw', 'io_uring'), ('nbd', 'io_uring')]),
    'fuzz-60': lambda: fuzz(60),
    'guest': lambda: [tap(name, [f'tests/guest/{name}', '--download'])
                      for name in ('guest-backup', 'guest-nbd')],
    # By name only: these take about as long as all of the above.
    'asan-other': lambda: [
        unit_other('asan', 'sanitizers', SANITIZER_ENV),
        sanitized('asan', SANITIZER_ENV, [
            ('qcow2', 'io_uring'), ('raw', 'epoll'), ('nbd', 'epoll')])],
    'asan-crash': lambda: meson_suites('asan', 'sanitizers, crash, interop', [
        '--suite', 'crash', '--suite', 'interop'], SANITIZER_ENV),
    'epoll': lambda: iotests('qcow2 epoll', ['-qcow2'], 'gcc',
                             {'BLOCK_LOOP': 'epoll'}),
    'tsan-unit': lambda: [
        meson_suites('tsan', 'thread sanitizer', [
            '--suite', 'unit', '--suite', 'random', '--suite', 'fuzz'],
            TSAN_ENV),
        unit_other('tsan', 'thread sanitizer', TSAN_ENV)],
    'tsan': lambda: sanitized('tsan', TSAN_ENV, [
        (fmt, engine) for engine in ('io_uring', 'epoll')
        for fmt in ('qcow2', 'raw', 'nbd')]),
    'valgrind': valgrind,
    # For the night: hours.
    'fuzz': lambda: fuzz(600),
    'power-loss': lambda: tap('power-loss', [
        'tests/crash/power-loss', '--states', '2500']),
    'kill': lambda: tap('kill', ['tests/crash/kill-random', '--kills',
                                 '2000']),
    'faults': lambda: tap('faults', ['tests/crash/fault-table', '--share',
                                     '1']),
    'syscalls': lambda: tap('syscalls', ['tests/crash/syscall-table',
                                         '--share', '1']),
    'memory': lambda: tap('memory', ['tests/crash/memory-table']),
}
NAMES = list(STEPS)
DEFAULT = NAMES[:NAMES.index('peer') + 1]
FULL = NAMES[:NAMES.index('guest') + 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--full', action='store_true',
                        help='the sanitizers and a real guest, too')
    parser.add_argument('--only', help='comma-separated: ' + ' '.join(STEPS))
    args = parser.parse_args()
    names = FULL if args.full else DEFAULT
    names = args.only.split(',') if args.only else names
    for name in names:
        if name not in STEPS:
            parser.error(f"there is no step '{name}'")
    start = time.monotonic()
    for name in names:
        STEPS[name]()
    if counts.notes:
        print('Unstable, failed first and passed when run alone:')
        print(''.join(f'  {note}\n' for note in counts.notes), end='')
    print(f'{time.monotonic() - start:.0f} seconds')
    print(f'{counts.passed} passed, {counts.failed} failed, '
          f'{counts.skipped} skipped')
    return 1 if counts.failed else 0


sys.exit(main())
