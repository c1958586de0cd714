package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// serveWeb is what the web pod runs: something to port-forward to, and a log that never stops.
func serveWeb(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "hello from %s\n", os.Getenv("HOSTNAME"))
	})
	mux.HandleFunc("GET /bytes/{count}", func(w http.ResponseWriter, r *http.Request) {
		count, err := strconv.ParseInt(r.PathValue("count"), 10, 64)
		if err != nil || count < 0 {
			http.Error(w, "GET /bytes/COUNT, a whole number", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(count, 10))
		_, _ = io.CopyN(w, zeros{}, count)
	})
	server := &http.Server{
		Addr:              net.JoinHostPort(loopback, os.Getenv("PORT_8080")),
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	defer server.Close()

	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for tick := 1; ; tick++ {
		fmt.Println("tick", tick)
		select {
		case <-ticker.C:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
