// Command node is the one node of the local cluster: a kubelet in miniature whose containers are plain processes.
//
// It keeps its Node object Ready, binds Pods that nobody scheduled, runs their commands and reports their status, and
// serves the streaming endpoint behind kubectl exec, cp, attach, logs and port-forward with the kubelet's own code.
//
// There are no images and no isolation. A container's command runs as the user who started the cluster, in a folder
// of its pod, with HOSTNAME set to the pod's name; a container without a command idles. Init containers, probes,
// volumes and resources are ignored. For every container port P that a pod declares, the node picks a free loopback
// port, tells the command in PORT_P, and forwards P there.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage:
  node run [flags]   run the node until SIGTERM
  node web           the web pod's command: HTTP on 127.0.0.1:$PORT_8080, a log line every second
  node pause         do nothing until SIGTERM: stands in for an image's own command`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := dispatch(ctx, os.Args[1:]); err != nil {
		slog.Error("node ends", "error", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	switch {
	case len(args) >= 1 && args[0] == "run":
		return runNode(ctx, args[1:])
	case len(args) == 1 && args[0] == "web":
		return serveWeb(ctx)
	case len(args) == 1 && args[0] == "pause":
		<-ctx.Done()
		return nil
	default:
		return fmt.Errorf("unknown command line %q\n%s", args, usage)
	}
}

func runNode(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of a user who may do everything with nodes and pods")
	name := flags.String("name", "local", "name of the Node")
	port := flags.Int("port", 10250, "loopback port of the streaming endpoint")
	certificates := flags.String("certificates", "", "folder with node.crt, node.key and ca.crt")
	dir := flags.String("dir", "", "folder for the pods' files and logs")
	if err := flags.Parse(args); err != nil {
		return err
	}

	node, err := newNode(*kubeconfig, *name, *dir)
	if err != nil {
		return err
	}
	server, err := newStreamingServer(node, *port, *certificates)
	if err != nil {
		return err
	}
	defer server.Close()
	listener, err := net.Listen("tcp", server.Addr)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	go func() { end(server.ServeTLS(watchedListener{listener}, "", "")) }()
	go node.keepReady(ctx, int32(*port))
	node.run(ctx)

	node.stopAll()
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return cause // nobody asked us to stop: the endpoint failed
	}
	return nil
}
