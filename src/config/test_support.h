/* What the tests of this room share: a folder of their own, and keys in it. Failures end the test. */
#ifndef TOKENHOP_SRC_CONFIG_TEST_SUPPORT_H
#define TOKENHOP_SRC_CONFIG_TEST_SUPPORT_H

#include <stddef.h>

/* A new folder below the system's temporary one; removed with all that is in it, and freed. */
char *test_folder_new(void);
void test_folder_remove(char *folder);
/* Folders in `name` are made on the way. */
void test_write_file(const char *folder, const char *name, const char *text, unsigned mode);
/* Private keys, PEM and JWK, mode 0600. `bits` of an RSA key; 0: a key on the curve. */
void test_write_pem(const char *folder, const char *name, unsigned bits, const char *curve);
void test_write_jwk(const char *folder, const char *name, unsigned bits, const char *curve);
/* The same key as PEM too. */
void test_write_jwk_pair(const char *folder, const char *jwk, const char *pem, unsigned bits,
                         const char *curve);
void test_write_ed25519(const char *folder, const char *name);
void test_write_encrypted_pem(const char *folder, const char *name);
void test_write_public_pem(const char *folder, const char *name, unsigned bits);
/* A self-signed certificate, PEM. */
void test_write_certificate(const char *folder, const char *name);
/* An authority and its key, PEM. */
void test_write_authority(const char *folder, const char *name, const char *key_name);
/* The whole file; freed by the caller with free(). */
char *test_read_file(const char *path, size_t *ret_len);

#endif
