/* tokenhop-config-docs schema|reference: writes what is generated from the table of keys to
 * standard output. Not installed; the tests compare its output with the files in the tree. */
#include <stdio.h>
#include <string.h>

#include "tokenhop/config/load.h"

int main(int argc, char **argv)
{
    struct th_buf buf;
    int r = TH_E_CONFIG;
    th_buf_init(&buf, (size_t)1 << 20);
    if (argc == 2 && strcmp(argv[1], "schema") == 0)
        r = th_config_write_schema(&buf);
    else if (argc == 2 && strcmp(argv[1], "reference") == 0)
        r = th_config_write_reference(&buf);
    else
        fprintf(stderr, "usage: tokenhop-config-docs schema|reference\n");
    if (r == 0 && fwrite(buf.ptr, 1, buf.len, stdout) != buf.len)
        r = TH_E_IO;
    th_buf_fini(&buf);
    return r == 0 && fflush(stdout) == 0 ? 0 : 2;
}
