/* Templates of a header field's value: text in which {NAME} stands for one of the credential's values,
 * {{ and }} for braces. */
#ifndef TOKENHOP_SRC_CONFIG_TEMPLATE_H
#define TOKENHOP_SRC_CONFIG_TEMPLATE_H

#include "tokenhop/config/model.h"

/* For the schema; it must agree with the check. */
#define TH_TEMPLATE_PATTERN                                                                        \
    "^(?! )([ -z|~]|\\{\\{|\\}\\}|\\{[A-Za-z0-9_.-]{1,64}\\})*"                                    \
    "\\{[A-Za-z0-9_.-]{1,64}\\}([ -z|~]|\\{\\{|\\}\\}|\\{[A-Za-z0-9_.-]{1,64}\\})*(?<! )$"

#define TH_TEMPLATE_PARTS_MAX 64

/* 0; TH_E_CONFIG with `what` and `mend`, which do not quote the template. */
int th_template_check(struct th_str text, struct th_errinfo *reterr) TH_MUST;
/* Of a template that was checked. The parts borrow from `text`. Returns how many there are. */
size_t th_template_split(struct th_str text, struct th_config_template_part *ret_parts);

#endif
