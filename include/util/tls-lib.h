/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * GnuTLS, loaded when it is first needed (util/lazy-lib.h). Included in place
 * of GnuTLS's headers; a function that is used must stand in both lists.
 */
#ifndef UTIL_TLS_LIB_H
#define UTIL_TLS_LIB_H

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "util/lazy-lib.h"

#define TLS_LIB(X) \
    X(gnutls_anon_allocate_client_credentials) \
    X(gnutls_anon_allocate_server_credentials) \
    X(gnutls_anon_free_client_credentials) \
    X(gnutls_anon_free_server_credentials) \
    X(gnutls_anon_set_server_dh_params) \
    X(gnutls_anon_set_server_known_dh_params) \
    X(gnutls_certificate_allocate_credentials) \
    X(gnutls_certificate_free_credentials) X(gnutls_certificate_get_peers) \
    X(gnutls_certificate_server_set_request) \
    X(gnutls_certificate_set_dh_params) \
    X(gnutls_certificate_set_known_dh_params) \
    X(gnutls_certificate_set_x509_crl_file) \
    X(gnutls_certificate_set_x509_key_file2) \
    X(gnutls_certificate_set_x509_system_trust) \
    X(gnutls_certificate_set_x509_trust_file) \
    X(gnutls_certificate_verify_peers3) X(gnutls_cipher_decrypt) \
    X(gnutls_cipher_deinit) X(gnutls_cipher_init) X(gnutls_credentials_set) \
    X(gnutls_deinit) X(gnutls_dh_params_deinit) \
    X(gnutls_dh_params_import_pkcs3) X(gnutls_dh_params_init) \
    X(gnutls_error_is_fatal) X(gnutls_free) X(gnutls_handshake) \
    X(gnutls_handshake_set_timeout) X(gnutls_hash) X(gnutls_hash_deinit) \
    X(gnutls_hash_init) X(gnutls_init) X(gnutls_load_file) \
    X(gnutls_priority_deinit) X(gnutls_priority_init) X(gnutls_priority_set) \
    X(gnutls_psk_allocate_client_credentials) \
    X(gnutls_psk_allocate_server_credentials) \
    X(gnutls_psk_free_client_credentials) \
    X(gnutls_psk_free_server_credentials) X(gnutls_psk_server_get_username) \
    X(gnutls_psk_set_client_credentials) \
    X(gnutls_psk_set_server_credentials_file) \
    X(gnutls_psk_set_server_dh_params) \
    X(gnutls_psk_set_server_known_dh_params) X(gnutls_record_recv) \
    X(gnutls_record_send) X(gnutls_server_name_set) X(gnutls_strerror) \
    X(gnutls_transport_set_errno) X(gnutls_transport_set_ptr) \
    X(gnutls_transport_set_pull_function) \
    X(gnutls_transport_set_push_function) X(gnutls_x509_crt_deinit) \
    X(gnutls_x509_crt_get_activation_time) \
    X(gnutls_x509_crt_get_basic_constraints) X(gnutls_x509_crt_get_dn3) \
    X(gnutls_x509_crt_get_expiration_time) X(gnutls_x509_crt_import) \
    X(gnutls_x509_crt_init) X(gnutls_x509_crt_list_import2) \
    X(gnutls_x509_crt_list_verify)

extern struct TlsLib {
    TLS_LIB(LAZY_SLOT)
} tls_lib;

/* Before the first of these functions is called. Any thread. */
bool tls_lib_load(Error **errp);

#define gnutls_anon_allocate_client_credentials \
    tls_lib.gnutls_anon_allocate_client_credentials
#define gnutls_anon_allocate_server_credentials \
    tls_lib.gnutls_anon_allocate_server_credentials
#define gnutls_anon_free_client_credentials \
    tls_lib.gnutls_anon_free_client_credentials
#define gnutls_anon_free_server_credentials \
    tls_lib.gnutls_anon_free_server_credentials
#define gnutls_anon_set_server_dh_params \
    tls_lib.gnutls_anon_set_server_dh_params
#define gnutls_anon_set_server_known_dh_params \
    tls_lib.gnutls_anon_set_server_known_dh_params
#define gnutls_certificate_allocate_credentials \
    tls_lib.gnutls_certificate_allocate_credentials
#define gnutls_certificate_free_credentials \
    tls_lib.gnutls_certificate_free_credentials
#define gnutls_certificate_get_peers tls_lib.gnutls_certificate_get_peers
#define gnutls_certificate_server_set_request \
    tls_lib.gnutls_certificate_server_set_request
#define gnutls_certificate_set_dh_params \
    tls_lib.gnutls_certificate_set_dh_params
#define gnutls_certificate_set_known_dh_params \
    tls_lib.gnutls_certificate_set_known_dh_params
#define gnutls_certificate_set_x509_crl_file \
    tls_lib.gnutls_certificate_set_x509_crl_file
#define gnutls_certificate_set_x509_key_file2 \
    tls_lib.gnutls_certificate_set_x509_key_file2
#define gnutls_certificate_set_x509_system_trust \
    tls_lib.gnutls_certificate_set_x509_system_trust
#define gnutls_certificate_set_x509_trust_file \
    tls_lib.gnutls_certificate_set_x509_trust_file
#define gnutls_certificate_verify_peers3 \
    tls_lib.gnutls_certificate_verify_peers3
#define gnutls_cipher_decrypt tls_lib.gnutls_cipher_decrypt
#define gnutls_cipher_deinit tls_lib.gnutls_cipher_deinit
#define gnutls_cipher_init tls_lib.gnutls_cipher_init
#define gnutls_credentials_set tls_lib.gnutls_credentials_set
#define gnutls_deinit tls_lib.gnutls_deinit
#define gnutls_dh_params_deinit tls_lib.gnutls_dh_params_deinit
#define gnutls_dh_params_import_pkcs3 tls_lib.gnutls_dh_params_import_pkcs3
#define gnutls_dh_params_init tls_lib.gnutls_dh_params_init
#define gnutls_error_is_fatal tls_lib.gnutls_error_is_fatal
#define gnutls_handshake tls_lib.gnutls_handshake
#define gnutls_handshake_set_timeout tls_lib.gnutls_handshake_set_timeout
#define gnutls_hash tls_lib.gnutls_hash
#define gnutls_hash_deinit tls_lib.gnutls_hash_deinit
#define gnutls_hash_init tls_lib.gnutls_hash_init
#define gnutls_init tls_lib.gnutls_init
#define gnutls_load_file tls_lib.gnutls_load_file
#define gnutls_priority_deinit tls_lib.gnutls_priority_deinit
#define gnutls_priority_init tls_lib.gnutls_priority_init
#define gnutls_priority_set tls_lib.gnutls_priority_set
#define gnutls_psk_allocate_client_credentials \
    tls_lib.gnutls_psk_allocate_client_credentials
#define gnutls_psk_allocate_server_credentials \
    tls_lib.gnutls_psk_allocate_server_credentials
#define gnutls_psk_free_client_credentials \
    tls_lib.gnutls_psk_free_client_credentials
#define gnutls_psk_free_server_credentials \
    tls_lib.gnutls_psk_free_server_credentials
#define gnutls_psk_server_get_username tls_lib.gnutls_psk_server_get_username
#define gnutls_psk_set_client_credentials \
    tls_lib.gnutls_psk_set_client_credentials
#define gnutls_psk_set_server_credentials_file \
    tls_lib.gnutls_psk_set_server_credentials_file
#define gnutls_psk_set_server_dh_params tls_lib.gnutls_psk_set_server_dh_params
#define gnutls_psk_set_server_known_dh_params \
    tls_lib.gnutls_psk_set_server_known_dh_params
#define gnutls_record_recv tls_lib.gnutls_record_recv
#define gnutls_record_send tls_lib.gnutls_record_send
#define gnutls_server_name_set tls_lib.gnutls_server_name_set
#define gnutls_strerror tls_lib.gnutls_strerror
#define gnutls_transport_set_errno tls_lib.gnutls_transport_set_errno
#define gnutls_transport_set_ptr tls_lib.gnutls_transport_set_ptr
#define gnutls_transport_set_pull_function \
    tls_lib.gnutls_transport_set_pull_function
#define gnutls_transport_set_push_function \
    tls_lib.gnutls_transport_set_push_function
#define gnutls_x509_crt_deinit tls_lib.gnutls_x509_crt_deinit
#define gnutls_x509_crt_get_activation_time \
    tls_lib.gnutls_x509_crt_get_activation_time
#define gnutls_x509_crt_get_basic_constraints \
    tls_lib.gnutls_x509_crt_get_basic_constraints
#define gnutls_x509_crt_get_dn3 tls_lib.gnutls_x509_crt_get_dn3
#define gnutls_x509_crt_get_expiration_time \
    tls_lib.gnutls_x509_crt_get_expiration_time
#define gnutls_x509_crt_import tls_lib.gnutls_x509_crt_import
#define gnutls_x509_crt_init tls_lib.gnutls_x509_crt_init
#define gnutls_x509_crt_list_import2 tls_lib.gnutls_x509_crt_list_import2
#define gnutls_x509_crt_list_verify tls_lib.gnutls_x509_crt_list_verify
#undef gnutls_free
#define gnutls_free(p) ((*tls_lib.gnutls_free)(p))  /* a variable */

#endif
