// Kubebed is a Kubernetes cluster for tests: the real kube-apiserver, kube-scheduler and
// kube-controller-manager over an embedded etcd, and a node agent that runs the containers of pods
// as local processes. It listens on loopback addresses only, keeps everything in one folder and
// throws it away. See README.md.
//
//	kubebed --dir /tmp/bed --path VENV/bin
//
// It prints "kubebed ready" once a pod could be run, and stops on SIGTERM or SIGINT.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

type options struct {
	dir, kubeconfig, path, cidr, serviceCIDR string
	port, nodes, podsPerNode, uid            int
	cpu, memory                              string
	control                                  bool
	tokens, stubs, workdirs                  list
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case podInitCommand: // the first stage of a container, see sandbox.go
			podInit()
		case apiServerCommand: // a process of its own, see apiserver.go
			exit(apiServerMain(os.Args[2:]))
		}
	}
	o := options{stubs: list{"network-tools=exit", "pause=sleep", "stand-in=serve"}}
	flag.StringVar(&o.dir, "dir", "", "state folder, emptied at the start; default: a new temporary one, removed at the end")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "where to write the admin's kubeconfig (default DIR/kubeconfig)")
	flag.IntVar(&o.port, "port", 0, "port of the API server (default: a free one)")
	flag.IntVar(&o.nodes, "nodes", 1, "number of nodes")
	flag.IntVar(&o.podsPerNode, "pods-per-node", 500, "most pods of a node")
	flag.StringVar(&o.cpu, "cpu", "64", "cpu capacity of each node")
	flag.StringVar(&o.memory, "memory", "256Gi", "memory capacity of each node; nothing enforces it on processes")
	flag.StringVar(&o.path, "path", "", "folders put first in the PATH of containers (stands in for the image)")
	flag.IntVar(&o.uid, "uid", 0, "user id of containers whose pod names none (stands in for the image's USER)")
	flag.StringVar(&o.cidr, "pod-cidr", "127.66.0.0/16", "loopback range of pod addresses")
	flag.StringVar(&o.serviceCIDR, "service-cidr", "127.96.0.0/16", "loopback range of service addresses")
	flag.BoolVar(&o.control, "control", false, "obey commands on standard input, and stop when it ends")
	flag.Var(&o.tokens, "token", `another static token: token,user,uid[,"group,group"] (repeatable)`)
	flag.Var(&o.stubs, "stub", "IMAGE-PART=exit|sleep|serve: do not run containers of such images (repeatable)")
	flag.Var(&o.workdirs, "workdir", "IMAGE-PART=DIR: working directory of such images (repeatable)")
	flag.Parse()
	exit(serve(o))
}

func exit(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "kubebed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// bed is a running cluster.
type bed struct {
	o      options
	api    *apiServer
	agent  *agent
	client kubernetes.Interface
	begin  time.Time
}

func serve(o options) (err error) {
	b := bed{o: o, begin: time.Now()}
	if o.dir == "" {
		if b.o.dir, err = os.MkdirTemp("", "kubebed"); err != nil {
			return err
		}
		defer os.RemoveAll(b.o.dir)
		// Containers read parts of it under user ids of their own.
		if err := os.Chmod(b.o.dir, 0o755); err != nil {
			return err
		}
	} else if err = resetDir(o.dir); err != nil {
		return err
	}
	if o.kubeconfig == "" {
		b.o.kubeconfig = filepath.Join(b.o.dir, "kubeconfig")
	}
	if o.port == 0 {
		b.o.port = freePort()
	}
	if err := logTo(filepath.Join(b.o.dir, "kubebed.log")); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return b.run(ctx, stop)
}

// run starts all parts in the order in which they need each other and waits for the end.
func (b *bed) run(ctx context.Context, stop func()) error {
	if err := writePKI(b.o); err != nil {
		return err
	}
	if err := writeAuditPolicy(b.o); err != nil {
		return err
	}
	etcd, err := startEtcd(b.o.dir)
	if err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", b.o.kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS = -1 // no limit: a node agent here does the work of many nodes
	if b.client, err = kubernetes.NewForConfig(cfg); err != nil {
		return err
	}
	failed := make(chan error, 3)
	b.api = &apiServer{o: b.o, etcd: etcd, client: b.client, failed: failed}
	defer b.api.stop()
	if err := b.api.start(ctx); err != nil {
		return err
	}
	component := func(name string, run func(context.Context, []string) error, args []string) {
		go func() { failed <- fmt.Errorf("%s: %w", name, errOr(run(ctx, args), "stopped")) }()
	}
	component("kube-controller-manager", runControllerManager, controllerManagerArgs(b.o))
	component("kube-scheduler", runScheduler, schedulerArgs(b.o))
	a, err := newAgent(b.o, cfg, b.client)
	if err != nil {
		return err
	}
	b.agent = a
	defer a.killAll()
	if err := a.start(ctx); err != nil {
		return err
	}
	fmt.Printf("kubebed ready after %.1f s; export KUBECONFIG=%s\n", time.Since(b.begin).Seconds(), b.o.kubeconfig)
	if b.o.control {
		go b.obey(ctx, os.Stdin, os.Stdout, stop)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		if ctx.Err() != nil {
			return nil // they end because we do
		}
		return err
	}
}

// logTo sends the log of the components, which write to a process-wide logger, to a file.
func logTo(path string) error {
	logs, err := os.Create(path)
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	klog.LogToStderr(false)
	flags.Set("stderrthreshold", "FATAL")
	klog.SetOutput(logs)
	return nil
}

// resetDir empties a state directory, but only one that is empty or that kubebed made.
func resetDir(dir string) error {
	mark := filepath.Join(dir, ".kubebed")
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(mark); err != nil {
			return fmt.Errorf("%s is neither empty nor a kubebed state directory", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(mark, nil, 0o644)
}

func errOr(err error, text string) error {
	if err == nil {
		return errors.New(text)
	}
	return err
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
