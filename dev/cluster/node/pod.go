package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is a Pod that runs here.
type pod struct {
	uid        types.UID
	dir        string        // everything of the pod, removed with it
	work       string        // where its commands run: its "file system"
	env        []string      // the environment shared by its containers
	ports      map[int32]int // container port -> loopback port
	containers []*container
	started    metav1.Time
}

func startPod(stored *corev1.Pod, dir string, changed func()) (*pod, error) {
	p := &pod{
		uid:     stored.UID,
		dir:     dir,
		work:    filepath.Join(dir, "work"),
		ports:   map[int32]int{},
		started: metav1.Now().Rfc3339Copy(),
	}
	if err := os.MkdirAll(p.work, 0o700); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p.env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOSTNAME=" + stored.Name,
		"HOME=" + p.work,
		"TMPDIR=" + p.work,
		"DEV_NODE=" + self,
	}
	for _, spec := range stored.Spec.Containers {
		for _, declared := range spec.Ports {
			free, err := freePort()
			if err != nil {
				return nil, err
			}
			p.ports[declared.ContainerPort] = free
			p.env = append(p.env, fmt.Sprintf("PORT_%d=%d", declared.ContainerPort, free))
		}
	}
	for _, spec := range stored.Spec.Containers {
		c := newContainer(p, spec, stored.Spec.RestartPolicy, changed)
		p.containers = append(p.containers, c)
		go c.supervise()
	}
	return p, nil
}

// stop ends the pod's processes: SIGTERM, and SIGKILL when the grace is over.
func (p *pod) stop(grace time.Duration) {
	var ended sync.WaitGroup
	for _, c := range p.containers {
		ended.Go(func() { c.stop(grace) })
	}
	ended.Wait()
}

// container finds a container by name; no name means the first.
func (p *pod) container(name string) (*container, error) {
	for _, c := range p.containers {
		if name == "" || c.spec.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("container %q does not run in this pod", name)
}

// command prepares argv to run as if inside the container, at the head of a process group of its own.
func (p *pod) command(c *container, argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = p.work
	if c.spec.WorkingDir != "" {
		cmd.Dir = filepath.Join(p.work, c.spec.WorkingDir)
	}
	cmd.Env = c.env
	return cmd
}

func (p *pod) status(stored *corev1.Pod) corev1.PodStatus {
	status := *stored.Status.DeepCopy()
	status.StartTime = &p.started
	status.HostIP = loopback
	status.HostIPs = []corev1.HostIP{{IP: loopback}}
	status.PodIP = loopback
	status.PodIPs = []corev1.PodIP{{IP: loopback}}
	status.ContainerStatuses = nil
	ready := corev1.ConditionTrue
	for _, c := range p.containers {
		one := c.status()
		status.ContainerStatuses = append(status.ContainerStatuses, one)
		if !one.Ready {
			ready = corev1.ConditionFalse
		}
	}
	status.Phase = p.phase(status.ContainerStatuses)
	setCondition(&status, corev1.PodInitialized, corev1.ConditionTrue)
	setCondition(&status, corev1.ContainersReady, ready)
	setCondition(&status, corev1.PodReady, ready)
	return status
}

func (p *pod) phase(statuses []corev1.ContainerStatus) corev1.PodPhase {
	phase := corev1.PodSucceeded
	for i, one := range statuses {
		switch {
		case !p.containers[i].isFinished():
			return corev1.PodRunning
		case one.State.Terminated != nil && one.State.Terminated.ExitCode != 0:
			phase = corev1.PodFailed
		}
	}
	return phase
}

func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, value corev1.ConditionStatus) {
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		if condition.Type == kind {
			if condition.Status != value {
				condition.Status = value
				condition.LastTransitionTime = metav1.Now()
			}
			return
		}
	}
	status.Conditions = append(status.Conditions, corev1.PodCondition{
		Type: kind, Status: value, LastTransitionTime: metav1.Now(),
	})
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
