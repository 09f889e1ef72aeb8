/* Tells the supervisor how far the service has come (sd_notify(3)), where it wants to know. Main thread. Private to
 * the room. */
#ifndef TOKENHOP_CLI_NOTIFY_H
#define TOKENHOP_CLI_NOTIFY_H

/* The socket that NOTIFY_SOCKET names; -1: nobody wants to know. The variable is removed: no child shall speak for
 * us. */
int th_notify_open(void);
/* What is lost is lost: the service goes on. A `notify_fd` of -1 is fine. */
void th_notify_ready(int notify_fd);
void th_notify_reloading(
    int notify_fd); /* followed by ready, whether or not anything has changed */
void th_notify_stopping(int notify_fd);
void th_notify_close(int notify_fd);

#endif
