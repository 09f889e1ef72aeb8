/* The small languages inside the strings of a configuration: durations, sizes, names, scopes,
 * addresses, networks. Each function returns 0 or TH_E_CONFIG with `what` and `mend` filled; no
 * error text quotes what was given, as a secret may have been put in the wrong place. */
#ifndef TOKENHOP_SRC_CONFIG_TEXT_H
#define TOKENHOP_SRC_CONFIG_TEXT_H

#include <stdint.h>
#include <sys/socket.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"
#include "tokenhop/config/model.h"
#include "tokenhop/config/nearest.h"

/* Their patterns in the schema (ECMA 262), beside the functions that they must agree with. */
#define TH_DURATION_PATTERN "^(0|[1-9][0-9]{0,8})(ms|s|m|h)$"
#define TH_SIZE_PATTERN "^(0|[1-9][0-9]{0,8})(B|KiB|MiB|GiB)$"
#define TH_PERCENT_PATTERN "^(100|[1-9][0-9]?)%$"
#define TH_MODE_PATTERN "^0[0-7]{3}$"
#define TH_PORTS_PATTERN "^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$"
#define TH_NAME_PATTERN "^[A-Za-z0-9._-]{1,64}$"
#define TH_SCOPE_PATTERN "^[!#-\\[\\]-~]{1,256}$"
#define TH_VISIBLE_PATTERN "^[ -~]+$"
#define TH_FIELD_PATTERN "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"

int th_text_to_duration(struct th_str text, int64_t *ret_ms, struct th_errinfo *reterr) TH_MUST;
int th_text_to_size(struct th_str text, uint64_t *ret_bytes, struct th_errinfo *reterr) TH_MUST;
/* "30s", "64KiB": the largest unit that leaves no fraction. */
void th_text_from_duration(int64_t ms, char *ret_text, size_t size);
void th_text_from_size(uint64_t bytes, char *ret_text, size_t size);

/* Names become labels of metrics and fields of logs. */
int th_text_check_name(struct th_str text, struct th_errinfo *reterr) TH_MUST;
int th_text_check_scope(struct th_str text, struct th_errinfo *reterr) TH_MUST; /* RFC 6749, 3.3 */
int th_text_check_field(struct th_str text, struct th_errinfo *reterr) TH_MUST; /* RFC 9110, 5.1 */
int th_text_check_visible(struct th_str text, struct th_errinfo *reterr) TH_MUST;
/* Names of environment variables (POSIX). */
int th_text_check_variable(struct th_str text, struct th_errinfo *reterr) TH_MUST;
/* A file's name, which is not itself the key that was to be in the file. */
int th_text_check_file(struct th_str text, struct th_errinfo *reterr) TH_MUST;

/* "127.0.0.1:8080", "[::1]:8080": addresses in digits, as binding must not wait for a resolver. */
int th_text_to_address(struct th_str text, struct sockaddr_storage *ret_address, socklen_t *ret_len,
                       struct th_errinfo *reterr) TH_MUST;
/* "10.1.0.0/16", "127.0.0.1:9001", "[::1]:80", "fd00::/8". */
int th_text_to_network(struct th_str text, struct th_config_network *ret_network,
                       struct th_errinfo *reterr) TH_MUST;

/* "80%". */
int th_text_to_percent(struct th_str text, unsigned *ret_percent,
                       struct th_errinfo *reterr) TH_MUST;
int th_text_check_percent(struct th_str text, struct th_errinfo *reterr) TH_MUST;

/* "0660". */
int th_text_to_mode(struct th_str text, uint32_t *ret_mode, struct th_errinfo *reterr) TH_MUST;
int th_text_check_mode(struct th_str text, struct th_errinfo *reterr) TH_MUST;

/* "443", "8000-8999". */
int th_text_to_ports(struct th_str text, struct th_config_ports *ret_ports,
                     struct th_errinfo *reterr) TH_MUST;
int th_text_check_ports(struct th_str text, struct th_errinfo *reterr) TH_MUST;

/* Insertions, deletions, replacements and swaps of neighbours that lead from a to b (case does not
 * count); above 64 bytes, SIZE_MAX. */
size_t th_text_distance(struct th_str a, struct th_str b);

#endif
