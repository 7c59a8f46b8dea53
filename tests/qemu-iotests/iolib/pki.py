# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright (c) 2026 The project's contributors
"""Certificates and keys for tests of TLS, made by GnuTLS's certtool."""

import os

from . import env
from .tools import need_tool, run

__all__ = ['Authority', 'psk_keys']


class Authority:
    """A certificate authority that signs folders as QEMU wants them."""

    def __init__(self, name='ca'):
        need_tool('certtool')
        self.dir = env.path(f'authority-{name}')
        os.mkdir(self.dir)
        self.key, self.cert = self._file('key.pem'), self._file('cert.pem')
        self._privkey(self.key)
        run('certtool', '--generate-self-signed', '--load-privkey', self.key,
            '--template', self._template('ca', 'ca\ncert_signing_key\n'),
            '--outfile', self.cert)

    def _file(self, name):
        return os.path.join(self.dir, name)

    def _template(self, name, lines, expired=False):
        path = self._file(f'{name}.info')
        until = 'expiration_days = 2' if not expired else \
            'activation_date = "2020-01-01 00:00:00"\n' \
            'expiration_date = "2020-01-02 00:00:00"'
        with open(path, 'w', encoding='utf-8') as f:
            f.write(f'cn = "{name}"\n{until}\n{lines}')
        return path

    @staticmethod
    def _privkey(path):
        run('certtool', '--generate-privkey', '--ecc', '--outfile', path)

    def _sign(self, folder, side, name, lines, expired):
        key = os.path.join(folder, f'{side}-key.pem')
        self._privkey(key)
        run('certtool', '--generate-certificate', '--load-ca-certificate',
            self.cert, '--load-ca-privkey', self.key, '--load-privkey', key,
            '--template', self._template(
                name, f'signing_key\nencryption_key\n{lines}', expired),
            '--outfile', os.path.join(folder, f'{side}-cert.pem'))

    def revoke(self, folder, side='client'):
        """The list of what is revoked, that certificate; where it is."""
        crl = self._file('crl.pem')
        run('certtool', '--generate-crl', '--load-ca-certificate', self.cert,
            '--load-ca-privkey', self.key, '--load-certificate',
            os.path.join(folder, f'{side}-cert.pem'), '--template',
            self._template('crl', 'crl_number = 1\ncrl_next_update = 2\n'),
            '--outfile', crl)
        return crl

    def folder(self, name, server=None, client=None, expired=False):
        """With a server's certificate for that host name, a client's for that
        common name, or neither; always with the authority's."""
        folder = env.path(f'pki-{name}')
        os.mkdir(folder)
        with open(self.cert, 'rb') as src:
            with open(os.path.join(folder, 'ca-cert.pem'), 'wb') as dst:
                dst.write(src.read())
        if server:
            self._sign(folder, 'server', server,
                       f'dns_name = "{server}"\ntls_www_server\n', expired)
        if client:
            self._sign(folder, 'client', client, 'tls_www_client\n', expired)
        return folder


def psk_keys(name, **keys):
    """A folder with keys.psk: user=32 bytes in hexadecimal."""
    folder = env.path(f'psk-{name}')
    os.mkdir(folder)
    with open(os.path.join(folder, 'keys.psk'), 'w', encoding='utf-8') as f:
        for user, key in keys.items():
            f.write(f'{user}:{key}\n')
    return folder
