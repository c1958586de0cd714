package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

const (
	loopback = "127.0.0.1"
	// A worker waits while a deleted pod's processes end, so there are more than a few.
	workers = 8
	// At the cluster's own end nobody waits 30 s for a process that ignores SIGTERM.
	shutdownGrace = time.Second
)

// node is the controller of every Pod in the cluster: it makes what runs here match what the API server stores.
type node struct {
	name   string
	dir    string
	since  metav1.Time
	client kubernetes.Interface
	stored listers.PodLister
	queue  workqueue.TypedRateLimitingInterface[cache.ObjectName]

	informers informers.SharedInformerFactory

	mu   sync.Mutex
	pods map[cache.ObjectName]*pod
}

func newNode(kubeconfig, name, dir string) (*node, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // one client, one server, one machine: no throttling
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	// Seconds, not minutes, between tries: an outage of the API server is part of some tests.
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](retryDelay/10, 2*time.Second)
	n := &node{
		name:      name,
		dir:       dir,
		since:     metav1.Now(),
		client:    client,
		queue:     workqueue.NewTypedRateLimitingQueue(limiter),
		informers: informers.NewSharedInformerFactory(client, 0),
		pods:      map[cache.ObjectName]*pod{},
	}
	pods := n.informers.Core().V1().Pods()
	n.stored = pods.Lister()
	enqueue := func(object any) {
		if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
			n.queue.Add(key)
		}
	}
	_, err = pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
		DeleteFunc: enqueue,
	})
	return n, err
}

// run follows the stored Pods until ctx ends.
func (n *node) run(ctx context.Context) {
	n.informers.Start(ctx.Done())
	n.informers.WaitForCacheSync(ctx.Done())
	for range workers {
		go n.work(ctx)
	}
	<-ctx.Done()
	n.queue.ShutDown()
}

func (n *node) work(ctx context.Context) {
	for {
		key, closed := n.queue.Get()
		if closed {
			return
		}
		if err := n.reconcile(ctx, key); err == nil {
			n.queue.Forget(key)
		} else {
			// Conflicts are part of the game: the informer has not seen our own last write yet.
			if !apierrors.IsConflict(err) {
				slog.Warn("pod not reconciled, will retry", "pod", key, "error", err)
			}
			n.queue.AddRateLimited(key)
		}
		n.queue.Done(key)
	}
}

func (n *node) reconcile(ctx context.Context, key cache.ObjectName) error {
	stored, err := n.stored.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		n.remove(key, 0)
		return nil
	}
	if err != nil {
		return err
	}
	if running := n.pod(key); running != nil && running.uid != stored.UID {
		n.remove(key, 0) // deleted and made anew while we were not looking
	}

	switch {
	case stored.DeletionTimestamp != nil:
		return n.finishDelete(ctx, key, stored)
	case stored.Spec.NodeName == "":
		return n.bind(ctx, stored)
	case stored.Spec.NodeName != n.name:
		return nil
	case n.pod(key) == nil && isFinished(stored):
		return nil
	}

	running, err := n.start(key, stored)
	if err != nil {
		return err
	}
	updated := stored.DeepCopy()
	updated.Status = running.status(stored)
	if equality.Semantic.DeepEqual(updated.Status, stored.Status) {
		return nil
	}
	_, err = n.client.CoreV1().Pods(key.Namespace).UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	return err
}

// bind is the whole scheduler: there is one node.
func (n *node) bind(ctx context.Context, stored *corev1.Pod) error {
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: stored.Namespace, Name: stored.Name, UID: stored.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: n.name},
	}
	return n.client.CoreV1().Pods(stored.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
}

// finishDelete ends the pod's processes, then the object itself, as a kubelet does.
func (n *node) finishDelete(ctx context.Context, key cache.ObjectName, stored *corev1.Pod) error {
	grace := shutdownGrace
	if stored.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*stored.DeletionGracePeriodSeconds) * time.Second
	}
	n.remove(key, grace)
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(stored.UID))
	err := n.client.CoreV1().Pods(key.Namespace).Delete(ctx, key.Name, *options)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// start runs the pod's containers unless they already run.
func (n *node) start(key cache.ObjectName, stored *corev1.Pod) (*pod, error) {
	if running := n.pod(key); running != nil {
		return running, nil
	}
	dir := filepath.Join(n.dir, fmt.Sprintf("%s_%s_%s", key.Namespace, key.Name, stored.UID))
	started, err := startPod(stored, dir, func() { n.queue.Add(key) })
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods[key] = started
	return started, nil
}

// remove ends the pod's processes and deletes its files.
func (n *node) remove(key cache.ObjectName, grace time.Duration) {
	running := n.pod(key)
	if running == nil {
		return
	}
	running.stop(grace)
	if err := os.RemoveAll(running.dir); err != nil {
		slog.Warn("pod's folder not removed", "pod", key, "error", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pods, key)
}

func (n *node) stopAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ended sync.WaitGroup
	for _, running := range n.pods {
		ended.Go(func() { running.stop(shutdownGrace) })
	}
	ended.Wait()
}

// pod gives the pod that runs here under that name, or nil.
func (n *node) pod(key cache.ObjectName) *pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pods[key]
}

func isFinished(stored *corev1.Pod) bool {
	return stored.Status.Phase == corev1.PodSucceeded || stored.Status.Phase == corev1.PodFailed
}
