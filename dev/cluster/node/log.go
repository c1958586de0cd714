package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/logs"
)

const (
	// A log that grows past this starts anew, so that a forgotten cluster does not fill the disk. It holds a few
	// million short lines.
	maxLogBytes = 256 << 20
	// Longer lines are stored in parts, as container runtimes do.
	maxLineBytes = 16 << 10
)

// runLog is the log file of one run, in the CRI's format: time, stream, F or P (full line, part of one), text.
type runLog struct {
	path string

	mu      sync.Mutex
	file    *os.File
	size    int64
	streams []*logStream
}

// logStream is the end of a runLog that stdout or stderr writes to.
type logStream struct {
	log  *runLog
	name string
	rest []byte // a line that has not ended yet
}

func createLog(path string) (*runLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &runLog{path: path, file: file}, nil
}

func (l *runLog) stream(name string) *logStream {
	s := &logStream{log: l, name: name}
	l.streams = append(l.streams, s)
	return s
}

// close stores what came without a line end, and closes the file.
func (l *runLog) close() {
	for _, s := range l.streams {
		if len(s.rest) > 0 {
			l.append(s.entry(nil, time.Now(), 'P', s.rest))
		}
	}
	l.file.Close()
}

func (l *runLog) append(entries []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(entries)) > maxLogBytes {
		l.startAnew()
	}
	written, _ := l.file.Write(entries) // a full disk must not stop the container
	l.size += int64(written)
}

// startAnew replaces the file by an empty one of the same name: those who follow it notice.
func (l *runLog) startAnew() {
	_ = os.Remove(l.path)
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	l.file.Close()
	l.file, l.size = file, 0
}

// Write stores every line that is complete, in one write to the file.
func (s *logStream) Write(p []byte) (int, error) {
	now := time.Now()
	var entries []byte
	s.rest = append(s.rest, p...)
	text := s.rest
	for {
		line, after, ended := bytes.Cut(text, []byte{'\n'})
		switch {
		case len(line) > maxLineBytes:
			entries = s.entry(entries, now, 'P', text[:maxLineBytes])
			text = text[maxLineBytes:]
			continue
		case ended:
			entries = s.entry(entries, now, 'F', line)
			text = after
			continue
		}
		break
	}
	s.rest = append(s.rest[:0], text...)
	if len(entries) > 0 {
		s.log.append(entries)
	}
	return len(p), nil
}

func (s *logStream) entry(to []byte, now time.Time, tag byte, line []byte) []byte {
	to = now.UTC().AppendFormat(to, logs.RFC3339NanoFixed)
	to = append(to, ' ')
	to = append(to, s.name...)
	to = append(to, ' ', tag, ' ')
	to = append(to, line...)
	return append(to, '\n')
}

// readLog writes a container's log with the kubelet's own reader; with options.Follow until the container has ended.
func readLog(ctx context.Context, c *container, path string, options *logs.LogOptions, stdout, stderr io.Writer) error {
	return logs.ReadLogs(ctx, path, c.id(), options, containerState{of: c}, stdout, stderr)
}

// containerState answers the one question that the reader asks of a container runtime.
type containerState struct {
	internalapi.RuntimeService
	of *container
}

func (s containerState) ContainerStatus(
	context.Context, string, bool,
) (*runtimeapi.ContainerStatusResponse, error) {
	state := runtimeapi.ContainerState_CONTAINER_EXITED
	if s.of.running() != nil {
		state = runtimeapi.ContainerState_CONTAINER_RUNNING
	}
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{State: state}}, nil
}

// logBody sends a log as it is read.
type logBody struct {
	to         http.ResponseWriter
	controller *http.ResponseController
	everyLine  bool
}

func (b *logBody) Write(p []byte) (int, error) {
	n, err := b.to.Write(p)
	if err == nil && b.everyLine {
		err = b.controller.Flush()
	}
	return n, err
}

func (b *logBody) flush() { _ = b.controller.Flush() }
