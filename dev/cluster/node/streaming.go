package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/cri-client/pkg/logs"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"
)

// The kubelet's own limits.
const (
	idleTimeout     = 4 * time.Hour
	creationTimeout = remotecommand.DefaultStreamCreationTimeout
)

// streaming serves the paths of a kubelet that the API server's exec, attach, portforward and log subresources use.
type streaming struct{ node *node }

func newStreamingServer(n *node, port int, certificates string) (*http.Server, error) {
	tlsConfig, err := mutualTLS(certificates)
	if err != nil {
		return nil, err
	}
	s := streaming{n}
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", s.exec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", s.attach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", s.portForward)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	return &http.Server{
		Addr:              net.JoinHostPort(loopback, strconv.Itoa(port)),
		Handler:           mux,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext:       endWithConnection,
	}, nil
}

func (s streaming) exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	argv := r.URL.Query()["command"]
	if len(argv) == 0 {
		http.Error(w, "exec needs a command", http.StatusBadRequest)
		return
	}
	if c, found := s.container(w, r); found {
		remotecommand.ServeExec(w, r, session{c}, r.PathValue("pod"), "", c.spec.Name, argv, options,
			idleTimeout, creationTimeout, remotecommand.SupportedStreamingProtocols)
	}
}

func (s streaming) attach(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if c, found := s.container(w, r); found {
		remotecommand.ServeAttach(w, r, session{c}, r.PathValue("pod"), "", c.spec.Name, options,
			idleTimeout, creationTimeout, remotecommand.SupportedStreamingProtocols)
	}
}

func (s streaming) portForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if p, found := s.pod(w, r); found {
		portforward.ServePortForward(w, r, forwarder{p}, r.PathValue("pod"), "", options,
			idleTimeout, creationTimeout, portforward.SupportedProtocols)
	}
}

func (s streaming) containerLogs(w http.ResponseWriter, r *http.Request) {
	c, found := s.container(w, r)
	if !found {
		return
	}
	query := r.URL.Query()
	options, err := logOptions(query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path, err := c.logOf(query.Get("previous") == "true")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	body := &logBody{to: w, controller: http.NewResponseController(w), everyLine: options.Follow}
	if options.Follow {
		body.flush() // the client learns at once that the log is there, however long it stays silent
	}
	// The head is sent: an error can only end the body, which it has done.
	_ = readLog(r.Context(), c, path, options, body, body)
}

// pod finds the pod that a path names, or answers 404.
func (s streaming) pod(w http.ResponseWriter, r *http.Request) (*pod, bool) {
	key := cache.NewObjectName(r.PathValue("namespace"), r.PathValue("pod"))
	p := s.node.pod(key)
	if p == nil {
		http.Error(w, fmt.Sprintf("pod %s does not run on this node", key), http.StatusNotFound)
	}
	return p, p != nil
}

func (s streaming) container(w http.ResponseWriter, r *http.Request) (*container, bool) {
	p, found := s.pod(w, r)
	if !found {
		return nil, false
	}
	c, err := p.container(r.PathValue("container"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
	}
	return c, err == nil
}

// session runs what one exec or attach request asks for.
type session struct{ container *container }

// ExecInContainer implements remotecommand.Executor.
func (s session) ExecInContainer(
	ctx context.Context, _, _, _ string, argv []string,
	in io.Reader, out, err io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	code, failure := s.container.exec(ctx, argv, streams{in, out, err, tty}, sizes)
	if failure == nil && code != 0 {
		failure = exec.CodeExitError{Err: fmt.Errorf("exit status %d", code), Code: code}
	}
	return failure
}

// AttachContainer implements remotecommand.Attacher.
func (s session) AttachContainer(
	ctx context.Context, _, _, _ string,
	in io.Reader, out, err io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize,
) error {
	return s.container.attach(ctx, streams{in, out, err, tty}, sizes)
}

// forwarder connects streams to the ports of one pod.
type forwarder struct{ pod *pod }

// PortForward implements portforward.PortForwarder.
func (f forwarder) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	local, declared := f.pod.ports[port]
	if !declared {
		return fmt.Errorf("nothing can listen on port %d: no container of the pod declares it", port)
	}
	connection, err := net.Dial("tcp", net.JoinHostPort(loopback, strconv.Itoa(local)))
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
		_ = connection.(*net.TCPConn).CloseWrite() // the client has said all it wants to
	}()
	_, err = io.Copy(stream, connection)
	return err
}

// logOptions reads the query of the API server's log subresource.
func logOptions(query url.Values) (*logs.LogOptions, error) {
	options := &logs.LogOptions{
		Follow:    query.Get("follow") == "true",
		Timestamp: query.Get("timestamps") == "true",
	}
	numbers := map[string]**int64{"tailLines": &options.TailLines, "limitBytes": &options.LimitBytes}
	for name, to := range numbers {
		if text := query.Get(name); text != "" {
			number, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s is not a number: %w", name, err)
			}
			*to = &number
		}
	}
	var err error
	if text := query.Get("sinceSeconds"); text != "" {
		var age time.Duration
		age, err = time.ParseDuration(text + "s")
		options.Since = time.Now().Add(-age)
	}
	if text := query.Get("sinceTime"); text != "" {
		options.Since, err = time.Parse(time.RFC3339, text)
	}
	return options, err
}
