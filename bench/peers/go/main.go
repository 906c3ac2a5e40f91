// The Go peer: net/http, a goroutine for each connection, no framework.
//
// Handlers block where they are, which is how Go is written. GOMAXPROCS in the environment is
// the number of threads that run Go code, as for every Go program. TCP_NODELAY is Go's default,
// and so is a backlog as deep as the kernel allows.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

var calls atomic.Uint64

func reply(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, body)
}

func get(path string, handler func(w http.ResponseWriter)) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		handler(w)
	})
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Parse()

	get("/", func(w http.ResponseWriter) { reply(w, "Hello, World!") })
	get("/sleep", func(w http.ResponseWriter) {
		time.Sleep(50 * time.Millisecond)
		reply(w, "slept")
	})
	get("/mixed", func(w http.ResponseWriter) {
		if (calls.Add(1)-1)%100 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		reply(w, "mixed")
	})
	get("/cpu", func(w http.ResponseWriter) {
		for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
		}
		reply(w, "spun")
	})

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
