package main

import (
	"io"
	"slices"
	"sync"
)

// output is where a container's stdout or stderr goes: into its log, and to every client attached to it.
type output struct {
	log io.Writer

	mu       sync.Mutex
	attached []io.Writer
}

// Write holds the container up while a client reads slowly, and drops a client that cannot be written to.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = o.log.Write(p)
	o.attached = slices.DeleteFunc(o.attached, func(client io.Writer) bool {
		_, err := client.Write(p)
		return err != nil
	})
	return len(p), nil
}

// attach adds a client, if it wants this stream, and returns how to remove it.
func (o *output) attach(client io.Writer) func() {
	if client == nil {
		return func() {}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attached = append(o.attached, client)
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.attached = slices.DeleteFunc(o.attached, func(one io.Writer) bool { return one == client })
	}
}
