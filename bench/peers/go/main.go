// The Go peer: net/http, a goroutine for each connection, no framework.
//
// Handlers block where they are, which is how Go is written. GOMAXPROCS in the environment is
// the number of threads that run Go code, as for every Go program. TCP_NODELAY is Go's default,
// and so is a backlog as deep as the kernel allows.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

var calls atomic.Uint64

type user struct {
	ID     uint64 `json:"id"`
	Name   string `json:"name"`
	Active bool   `json:"active"`
}

type order struct {
	Customer string `json:"customer"`
	Note     string `json:"note"`
	Items    []item `json:"items"`
}

type item struct {
	Name  string `json:"name"`
	Count uint32 `json:"count"`
	Cents uint64 `json:"cents"`
}

func writeJSON(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

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

	http.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
		if err != nil {
			http.Error(w, "not a number", http.StatusBadRequest)
			return
		}
		writeJSON(w, user{id, "Ada Lovelace", true})
	})
	http.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var posted order
		if err := json.NewDecoder(r.Body).Decode(&posted); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, posted)
	})
	http.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		count, _ := io.Copy(io.Discard, r.Body)
		reply(w, strconv.FormatInt(count, 10))
	})
	path := filepath.Join(os.TempDir(), fmt.Sprintf("threadline-bench-go-%d", os.Getpid()))
	content := make([]byte, 1024*1024)
	for at := range content {
		content[at] = byte(at % 251)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, path)
	})

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
