package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

const (
	firstBackOff = time.Second
	maxBackOff   = 30 * time.Second
	// What a runtime reports for a command that could not be started.
	startErrorCode = 128
)

// container is one container of a pod: a local process, run again and again as the restart policy says.
type container struct {
	pod     *pod
	spec    corev1.Container
	policy  corev1.RestartPolicy
	env     []string
	changed func() // called after every change of state

	stopOnce sync.Once
	stopping chan struct{} // closed: no further run
	finished chan struct{} // closed: the last run has ended

	mu       sync.Mutex
	state    corev1.ContainerState
	last     corev1.ContainerState // how the run before ended
	restarts int32
	current  *run // nil while no process runs
}

// run is one life of the container's process.
type run struct {
	process *process
	input   io.WriteCloser // nil unless the container wants stdin
	stdout  *output
	stderr  *output
	ended   chan struct{}
}

func newContainer(p *pod, spec corev1.Container, policy corev1.RestartPolicy, changed func()) *container {
	c := &container{
		pod:      p,
		spec:     spec,
		policy:   policy,
		env:      append([]string{}, p.env...),
		changed:  changed,
		stopping: make(chan struct{}),
		finished: make(chan struct{}),
		state:    waiting("ContainerCreating"),
	}
	for _, variable := range spec.Env {
		c.env = append(c.env, variable.Name+"="+variable.Value)
	}
	return c
}

// supervise runs the container until its restart policy or stop says that it is over.
func (c *container) supervise() {
	defer c.changed()
	defer close(c.finished)
	for backOff := firstBackOff; ; backOff = min(2*backOff, maxBackOff) {
		ended := c.runOnce()
		if !c.restartsAfter(ended.ExitCode) {
			c.set(corev1.ContainerState{Terminated: ended}, nil)
			return
		}
		c.mu.Lock()
		c.last = corev1.ContainerState{Terminated: ended}
		c.restarts++
		c.mu.Unlock()
		c.set(waiting("CrashLoopBackOff"), nil)
		c.changed()
		select {
		case <-time.After(backOff):
		case <-c.stopping:
			c.set(corev1.ContainerState{Terminated: ended}, nil)
			return
		}
	}
}

func (c *container) restartsAfter(exitCode int32) bool {
	if c.isStopping() {
		return false
	}
	return c.policy == corev1.RestartPolicyAlways || c.policy == corev1.RestartPolicyOnFailure && exitCode != 0
}

// runOnce starts the command and waits for its end.
func (c *container) runOnce() *corev1.ContainerStateTerminated {
	started := metav1.Now().Rfc3339Copy()
	code, err := c.runCommand(started)
	ended := &corev1.ContainerStateTerminated{
		ContainerID: c.id(),
		StartedAt:   started,
		FinishedAt:  metav1.Now().Rfc3339Copy(),
		ExitCode:    code,
		Reason:      "Completed",
	}
	switch {
	case err != nil:
		ended.ExitCode, ended.Reason, ended.Message = startErrorCode, "StartError", err.Error()
	case code != 0:
		ended.Reason = "Error"
	}
	return ended
}

func (c *container) runCommand(started metav1.Time) (int32, error) {
	number := c.restartCount()
	_ = os.Remove(c.logPath(number - 2)) // this run's log and the previous one's are kept
	log, err := createLog(c.logPath(number))
	if err != nil {
		return 0, err
	}
	defer log.close()
	r := &run{
		stdout: &output{log: log.stream("stdout")},
		stderr: &output{log: log.stream("stderr")},
		ended:  make(chan struct{}),
	}
	defer close(r.ended)
	s := streams{out: r.stdout, err: r.stderr, terminal: c.spec.TTY}
	if c.spec.Stdin {
		read, write := io.Pipe()
		defer read.Close()
		s.in, r.input = read, write
	}
	cmd := c.pod.command(c, c.argv())
	if err := os.MkdirAll(cmd.Dir, 0o700); err != nil {
		return 0, err
	}
	r.process, err = startProcess(cmd, s)
	if err != nil {
		return 0, err
	}
	c.set(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}, r)
	c.changed()
	if c.isStopping() {
		r.process.signal(syscall.SIGKILL) // stop came too early to see this run
	}

	code, ok := exitCode(r.process.wait())
	if !ok {
		return startErrorCode, nil
	}
	return int32(code), nil
}

// argv is the command as Kubernetes reads it: $(NAME) is replaced, args alone are for the image's command, and an
// image's own command is to idle.
func (c *container) argv() []string {
	declared := append(append([]string{}, c.spec.Command...), c.spec.Args...)
	if len(declared) == 0 {
		declared = []string{"$(DEV_NODE)", "pause"}
	}
	variables := map[string]string{}
	for _, pair := range c.env {
		name, value, _ := strings.Cut(pair, "=")
		variables[name] = value
	}
	mapping := expansion.MappingFuncFor(variables)
	argv := make([]string, len(declared))
	for i, word := range declared {
		argv[i] = expansion.Expand(word, mapping)
	}
	return argv
}

// exec runs a further command in the container until it ends or the client vanishes.
func (c *container) exec(
	ctx context.Context, argv []string, s streams, sizes <-chan remotecommand.TerminalSize,
) (int, error) {
	if c.running() == nil {
		return 0, fmt.Errorf("container %q is not running", c.spec.Name)
	}
	started, err := startProcess(c.pod.command(c, argv), s)
	if err != nil {
		return 0, err
	}
	if sizes != nil {
		go started.follow(sizes)
	}
	err = started.waitOrKill(ctx)
	if code, ok := exitCode(err); ok {
		return code, nil
	}
	return 0, err
}

// attach joins a client to the running process until either is gone.
func (c *container) attach(ctx context.Context, s streams, sizes <-chan remotecommand.TerminalSize) error {
	r := c.running()
	if r == nil {
		return fmt.Errorf("container %q is not running", c.spec.Name)
	}
	defer r.stdout.attach(s.out)()
	if !c.spec.TTY {
		defer r.stderr.attach(s.err)()
	}
	if s.in != nil && r.input != nil {
		go func() {
			_, err := io.Copy(r.input, s.in)
			if err == nil && c.spec.StdinOnce {
				r.input.Close()
			}
		}()
	}
	if sizes != nil {
		go r.process.follow(sizes)
	}
	select {
	case <-r.ended:
	case <-ctx.Done():
	}
	return nil
}

// stop ends the container for good: SIGTERM, and SIGKILL when the grace is over.
func (c *container) stop(grace time.Duration) {
	c.stopOnce.Do(func() { close(c.stopping) })
	if r := c.running(); r != nil {
		r.process.signal(syscall.SIGTERM)
		select {
		case <-c.finished:
		case <-time.After(grace):
			r.process.signal(syscall.SIGKILL)
		}
	}
	<-c.finished
}

func (c *container) status() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	started := c.state.Running != nil
	return corev1.ContainerStatus{
		Name:                 c.spec.Name,
		Image:                c.spec.Image,
		ImageID:              c.spec.Image,
		ContainerID:          c.id(),
		State:                c.state,
		LastTerminationState: c.last,
		RestartCount:         c.restarts,
		Ready:                started,
		Started:              &started,
	}
}

// logOf gives the log file of the current run, or of the one before.
func (c *container) logOf(previous bool) (string, error) {
	number := c.restartCount()
	waits := c.running() == nil && !c.isFinished()
	if previous || waits && number > 0 {
		number-- // between two runs, the current log is that of the last run
	}
	path := c.logPath(number)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if previous {
			return "", fmt.Errorf("previous terminated container %q not found", c.spec.Name)
		}
		return "", fmt.Errorf("container %q has not started", c.spec.Name)
	}
	return path, nil
}

func (c *container) logPath(number int32) string {
	return filepath.Join(c.pod.dir, "logs", c.spec.Name, fmt.Sprintf("%d.log", number))
}

func (c *container) id() string {
	return fmt.Sprintf("process://%s-%s", c.pod.uid, c.spec.Name)
}

func (c *container) running() *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

func (c *container) restartCount() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

func (c *container) isStopping() bool { return isClosed(c.stopping) }

func (c *container) isFinished() bool { return isClosed(c.finished) }

func (c *container) set(state corev1.ContainerState, current *run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.current = state, current
}

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func isClosed(signal <-chan struct{}) bool {
	select {
	case <-signal:
		return true
	default:
		return false
	}
}
