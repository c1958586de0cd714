package main

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/component-base/version"
)

const (
	heartbeat    = 10 * time.Second
	retryDelay   = 200 * time.Millisecond
	fieldManager = "local-node"
)

// keepReady creates the Node and renews its status until ctx ends, through any outage of the API server.
func (n *node) keepReady(ctx context.Context, port int32) {
	for {
		delay := heartbeat
		if err := n.reportReady(ctx, port); err != nil {
			slog.Warn("node status not written, will retry", "error", err)
			delay = retryDelay
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
	}
}

func (n *node) reportReady(ctx context.Context, port int32) error {
	nodes := n.client.CoreV1().Nodes()
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	wanted := apply.Node(n.name).WithLabels(map[string]string{
		corev1.LabelHostname:   n.name,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	})
	if _, err := nodes.Apply(ctx, wanted, options); err != nil {
		return err
	}
	_, err := nodes.ApplyStatus(ctx, apply.Node(n.name).WithStatus(n.status(port)), options)
	return err
}

func (n *node) status(port int32) *apply.NodeStatusApplyConfiguration {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:  resource.MustParse(strconv.Itoa(runtime.NumCPU())),
		corev1.ResourcePods: resource.MustParse("110"),
	}
	return apply.NodeStatus().
		WithCapacity(capacity).
		WithAllocatable(capacity).
		// Where the API server finds the streaming endpoint.
		WithAddresses(apply.NodeAddress().WithType(corev1.NodeInternalIP).WithAddress(loopback)).
		WithDaemonEndpoints(apply.NodeDaemonEndpoints().WithKubeletEndpoint(apply.DaemonEndpoint().WithPort(port))).
		WithConditions(apply.NodeCondition().
			WithType(corev1.NodeReady).
			WithStatus(corev1.ConditionTrue).
			WithReason("NodeReady").
			WithMessage("containers are local processes").
			WithLastHeartbeatTime(metav1.Now()).
			WithLastTransitionTime(n.since)).
		WithNodeInfo(apply.NodeSystemInfo().
			WithOperatingSystem(runtime.GOOS).
			WithArchitecture(runtime.GOARCH).
			WithContainerRuntimeVersion("process://1").
			WithKubeletVersion(version.Get().GitVersion).
			WithMachineID("").WithSystemUUID("").WithBootID("").
			WithKernelVersion("").WithOSImage("").WithKubeProxyVersion(""))
}
