#include "tokenhop/cli/command.h"
#include "tokenhop/oauth/json.h"

int main(int argc, char **argv)
{
    th_json_start(); /* before anything is parsed */
    return th_cli_main(argc, argv);
}
