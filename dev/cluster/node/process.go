package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/creack/pty"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// streams are a process's ends. A nil one is /dev/null to the process.
type streams struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // one pseudo-terminal for all three
}

// process is a running command at the head of its own process group.
type process struct {
	cmd      *exec.Cmd
	terminal *os.File // nil without one
	drained  chan struct{}
}

// startProcess runs cmd. The caller must call wait, once.
func startProcess(cmd *exec.Cmd, s streams) (*process, error) {
	if s.terminal {
		return startInTerminal(cmd, s)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = s.out, s.err
	var stdin io.WriteCloser
	if s.in != nil {
		// Not cmd.Stdin: Wait would wait for the client to close it.
		var err error
		if stdin, err = cmd.StdinPipe(); err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if stdin != nil {
		go func() {
			defer stdin.Close() // the command sees the end of its input
			_, _ = io.Copy(stdin, s.in)
		}()
	}
	return &process{cmd: cmd}, nil
}

func startInTerminal(cmd *exec.Cmd, s streams) (*process, error) {
	cmd.Env = append(cmd.Env, "TERM=xterm")
	out := s.out
	if out == nil {
		out = io.Discard
	}
	// The new session that a terminal brings is a new process group, too.
	terminal, err := pty.Start(cmd)
	if err != nil {
		return nil, err
	}
	if s.in != nil {
		go func() { _, _ = io.Copy(terminal, s.in) }()
	}
	p := &process{cmd: cmd, terminal: terminal, drained: make(chan struct{})}
	go func() {
		defer close(p.drained)
		// Ends with EIO when the last process has closed the terminal.
		_, _ = io.Copy(out, terminal)
	}()
	return p, nil
}

// wait returns when the command has ended and all that it wrote has been passed on.
func (p *process) wait() error {
	if p.terminal == nil {
		return p.cmd.Wait()
	}
	<-p.drained
	defer p.terminal.Close()
	return p.cmd.Wait()
}

// follow gives the terminal, if there is one, each size that the client's takes.
func (p *process) follow(sizes <-chan remotecommand.TerminalSize) {
	for size := range sizes {
		if p.terminal != nil {
			_ = pty.Setsize(p.terminal, &pty.Winsize{Cols: size.Width, Rows: size.Height})
		}
	}
}

// signal reaches the command and its children.
func (p *process) signal(signal syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, signal)
}

// waitOrKill is wait, cut short by SIGKILL when ctx ends: the client has gone.
func (p *process) waitOrKill(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.signal(syscall.SIGKILL) })
	defer stop()
	return p.wait()
}

// exitCode reads the end of a command as a container runtime does: 128 + n for death by signal n. Not ok means that the
// command did not run to an end of its own.
func exitCode(err error) (code int, ok bool) {
	if err == nil {
		return 0, true
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, false
	}
	if status, isUnix := exit.Sys().(syscall.WaitStatus); isUnix && status.Signaled() {
		return 128 + int(status.Signal()), true
	}
	return exit.ExitCode(), true
}
