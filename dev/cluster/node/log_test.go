package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cri-client/pkg/logs"
)

func TestLogGivesBackEveryByteThatWasWritten(t *testing.T) {
	long := strings.Repeat("x", 3*maxLineBytes+7)
	for name, chunks := range map[string][]string{
		"lines":                   {"one\ntwo\n"},
		"a line in two writes":    {"on", "e\ntwo\n"},
		"no line end at the end":  {"one\ntwo"},
		"empty lines":             {"\n\n", "\n"},
		"a long line":             {long + "\n", "next\n"},
		"a long line, no end":     {long},
		"exactly the longest":     {long[:maxLineBytes] + "\n"},
		"nothing":                 {},
		"carriage returns, bytes": {"\r\n\x00\xff\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeLog(t, chunks)
			var read bytes.Buffer
			if err := logs.ReadLogs(context.Background(), path, "", &logs.LogOptions{}, nil, &read, &read); err != nil {
				t.Fatal(err)
			}
			if want := strings.Join(chunks, ""); read.String() != want {
				t.Errorf("read %d bytes %.40q, wrote %d bytes %.40q", read.Len(), read.String(), len(want), want)
			}
		})
	}
}

func TestLogStartsAnewWhenItIsTooLong(t *testing.T) {
	log, err := createLog(filepath.Join(t.TempDir(), "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	log.size = maxLogBytes
	stream := log.stream("stdout")
	_, _ = stream.Write([]byte("after\n"))
	if log.size == 0 || log.size > 100 {
		t.Errorf("the new file is counted as %d bytes", log.size)
	}
	log.close()
}

func writeLog(t *testing.T, chunks []string) string {
	t.Helper()
	log, err := createLog(filepath.Join(t.TempDir(), "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	stream := log.stream("stdout")
	for _, chunk := range chunks {
		if _, err := stream.Write([]byte(chunk)); err != nil {
			t.Fatal(err)
		}
	}
	log.close()
	return log.path
}
