// A client of Go that knows of the proxy what its environment says, no more: net/http as it comes.
//
//	go_client BASE...      with TOKEN set; the steps of node_client.mjs
package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

var out = json.NewEncoder(os.Stdout)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func ask(method, url, body string) *http.Response {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	must(err)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	answer, err := http.DefaultClient.Do(request)
	must(err)
	return answer
}

func say(base, step string, answer *http.Response) {
	text, err := io.ReadAll(answer.Body)
	must(err)
	answer.Body.Close()
	must(out.Encode(map[string]any{"base": base, "step": step, "status": answer.StatusCode, "body": json.RawMessage(text)}))
}

func main() {
	start := time.Now()
	for _, base := range os.Args[1:] {
		say(base, "whoami", ask("GET", base+"/a2a/whoami", ""))
		say(base, "whoami", ask("GET", base+"/a2a/whoami", ""))
		say(base, "echo", ask("POST", base+"/a2a/echo", strings.Repeat("x", 100000)))
		events := bufio.NewScanner(ask("GET", base+"/a2a/sse?n=4&ms=200", "").Body)
		for events.Scan() {
			if strings.HasPrefix(events.Text(), "data: ") {
				at := float64(time.Since(start).Microseconds()) / 1000
				must(out.Encode(map[string]any{"base": base, "step": "event", "at": at}))
			}
		}
		must(events.Err())
	}
}
