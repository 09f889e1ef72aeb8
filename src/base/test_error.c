#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/error.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* The values of the `error` parameter that RFC 9209, 2.3 defines. */
static const char *const registered[] = {
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
};

static bool is_registered(const char *name)
{
    for (size_t i = 0; i < sizeof registered / sizeof registered[0]; i++) {
        if (strcmp(registered[i], name) == 0)
            return true;
    }
    return false;
}

static void every_row_is_whole(void **state)
{
    (void)state;
    for (int i = TH_ERROR_INDEX_NONE + 1; i < TH_ERROR_COUNT; i++) {
        const struct th_error_row *row = th_error_get(-i);
        assert_non_null(row->name);
        print_message("  %s\n", row->name);
        assert_true(row->status >= 400 && row->status <= 599);
        assert_true(is_registered(row->proxy_status));
        for (const char *c = row->code; *c != '\0'; c++)
            assert_true(islower(*c) || *c == '_');
        /* R28: 401 says only that the caller's own subject token is missing or bad */
        assert_int_equal(row->status == 401, strncmp(row->code, "subject_token_", 14) == 0);
        /* the answers of one code do not differ in status */
        for (int j = TH_ERROR_INDEX_NONE + 1; j < i; j++) {
            if (strcmp(th_error_get(-j)->code, row->code) == 0)
                assert_int_equal(th_error_get(-j)->status, row->status);
            assert_string_not_equal(th_error_get(-j)->name, row->name);
        }
        if (row->retryable)
            assert_true(row->status == 503 || row->status == 429);
    }
}

static void what_is_no_error_is_internal(void **state)
{
    (void)state;
    static const int numbers[] = {0, 1, 500, -TH_ERROR_COUNT, TH_AGAIN, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        assert_string_equal(th_error_get(numbers[i])->name, "INTERNAL");
    assert_string_equal(th_error_get(TH_E_SUBJECT_MISSING)->code, "subject_token_missing");
    assert_string_equal(th_error_get(TH_E_ORIGIN_BODY_TIMEOUT)->name, "ORIGIN_BODY_TIMEOUT");
}

static void errnos_of_an_origin(void **state)
{
    (void)state;
    static const struct {
        int err, error;
    } rows[] = {
        {ECONNREFUSED, TH_E_ORIGIN_REFUSED},
        {ECONNRESET, TH_E_ORIGIN_CLOSED},
        {EPIPE, TH_E_ORIGIN_CLOSED},
        {ETIMEDOUT, TH_E_ORIGIN_CONNECT_TIMEOUT},
        {EHOSTUNREACH, TH_E_ORIGIN_UNREACHABLE},
        {ENETUNREACH, TH_E_ORIGIN_UNREACHABLE},
        {EMFILE, TH_E_OVERLOADED},
        {EADDRNOTAVAIL, TH_E_OVERLOADED},
        {ENOMEM, TH_E_NOMEM},
        {EBADF, TH_E_INTERNAL},
        {ENOENT, TH_E_ORIGIN_REFUSED},
        {99999, TH_E_ORIGIN_UNREACHABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(th_error_from_origin_errno(rows[i].err), rows[i].error);
}

static void detail_for_people(void **state)
{
    (void)state;
    struct th_errinfo info;
    memset(&info, 'x', sizeof info);
    assert_int_equal(th_errinfo_set(&info, TH_E_IO, "key.pem", "chmod 600 it", "mode %03o", 0644u),
                     TH_E_IO);
    assert_int_equal(info.error, TH_E_IO);
    assert_string_equal(info.what, "mode 644");
    assert_string_equal(info.where, "key.pem");
    assert_string_equal(info.mend, "chmod 600 it");
    char long_text[1000];
    memset(long_text, 'y', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    assert_int_equal(th_errinfo_set(&info, TH_E_CONFIG, NULL, long_text, "%s", long_text),
                     TH_E_CONFIG);
    assert_int_equal(strlen(info.what), sizeof info.what - 1);
    assert_int_equal(strlen(info.mend), sizeof info.mend - 1);
    assert_string_equal(info.where, "");
    assert_int_equal(th_errinfo_set(NULL, TH_E_IO, NULL, NULL, "%d", 1), TH_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(what_is_no_error_is_internal),
        cmocka_unit_test(errnos_of_an_origin),
        cmocka_unit_test(detail_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
