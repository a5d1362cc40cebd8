package main

// The node agent: registers the nodes and follows the pods that the scheduler binds to them,
// one goroutine each (pod.go). It stands in for the other parts of a node too: the kubelet's log
// endpoint (kubelet.go), storage (provisioner.go), kube-proxy and names of services (services.go).

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

type agent struct {
	o      options
	client kubernetes.Interface
	shim   string // the compiled bindshim.c
	events record.EventBroadcaster
	spawn  chan func() // functions run on the one thread that starts processes

	informers informers.SharedInformerFactory
	services  *serviceProxy

	mu     sync.Mutex
	pods   map[types.UID]*podRun
	lastIP uint32
}

func newAgent(o options, cfg *rest.Config, client kubernetes.Interface) (*agent, error) {
	shim, err := buildShim(o.dir)
	if err != nil {
		return nil, err
	}
	a := &agent{o: o, client: client, shim: shim, pods: map[types.UID]*podRun{}, spawn: make(chan func())}
	a.events = record.NewBroadcaster()
	a.events.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	a.informers = informers.NewSharedInformerFactory(client, 0)
	a.services = newServiceProxy(a)
	go func() {
		runtime.LockOSThread()
		for f := range a.spawn {
			f()
		}
	}()
	return a, nil
}

func (a *agent) start(ctx context.Context) error {
	port, err := a.serveKubeletAPI()
	if err != nil {
		return err
	}
	for i := range a.o.nodes {
		if err := a.registerNode(ctx, fmt.Sprintf("node-%d", i), port); err != nil {
			return err
		}
	}
	if err := a.createStorageClass(ctx); err != nil {
		return err
	}
	if err := a.createDenial(ctx, port); err != nil {
		return err
	}
	a.informers.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.podSeen(ctx, o.(*v1.Pod)) },
		UpdateFunc: func(_, o any) { a.podSeen(ctx, o.(*v1.Pod)) },
		DeleteFunc: func(o any) {
			if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = d.Obj
			}
			if p := a.forget(o.(*v1.Pod).UID); p != nil {
				p.gone.Store(true) // removed from the API: nothing more to report
				p.stop(0)
			}
		},
	})
	// Storage is looked at every few seconds as well: what failed while the API server was away is tried again.
	const again = 5 * time.Second
	a.informers.Core().V1().PersistentVolumeClaims().Informer().AddEventHandlerWithResyncPeriod(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.provision(ctx, o.(*v1.PersistentVolumeClaim)) },
		UpdateFunc: func(_, o any) { a.provision(ctx, o.(*v1.PersistentVolumeClaim)) },
	}, again)
	a.informers.Core().V1().PersistentVolumes().Informer().AddEventHandlerWithResyncPeriod(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, o any) { a.reclaim(ctx, o.(*v1.PersistentVolume)) },
	}, again)
	a.services.watch()
	a.informers.Start(ctx.Done())
	a.informers.WaitForCacheSync(ctx.Done())
	for { // pods are refused until the namespace has its default service account
		if _, err := a.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (a *agent) registerNode(ctx context.Context, name string, port int32) error {
	res := v1.ResourceList{
		v1.ResourceCPU: resource.MustParse(a.o.cpu), v1.ResourceMemory: resource.MustParse(a.o.memory),
		v1.ResourcePods: *resource.NewQuantity(int64(a.o.podsPerNode), resource.DecimalSI), v1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	now := metav1.Now()
	_, err := a.client.CoreV1().Nodes().Create(ctx, &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			v1.LabelHostname: name, v1.LabelOSStable: "linux", v1.LabelArchStable: runtime.GOARCH,
		}},
		Status: v1.NodeStatus{
			Capacity: res, Allocatable: res,
			Conditions:      []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
			Addresses:       []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "127.0.0.1"}, {Type: v1.NodeHostName, Address: name}},
			DaemonEndpoints: v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: port}},
			NodeInfo:        v1.NodeSystemInfo{KubeletVersion: "v1.36.3-kubebed", OperatingSystem: "linux", Architecture: runtime.GOARCH},
		},
	}, metav1.CreateOptions{})
	return err
}

// podSeen starts a run for a pod newly bound to one of our nodes, and stops it once deletion is
// asked for.
func (a *agent) podSeen(ctx context.Context, pod *v1.Pod) {
	if !strings.HasPrefix(pod.Spec.NodeName, "node-") {
		return
	}
	a.mu.Lock()
	p := a.pods[pod.UID]
	if p == nil && (pod.Status.Phase == v1.PodPending || pod.Status.Phase == "") {
		p = newPodRun(a, pod)
		a.pods[pod.UID] = p
		go p.run(ctx)
	}
	a.mu.Unlock()
	if p == nil {
		return
	}
	p.noteFaults(pod.Annotations)
	if pod.DeletionTimestamp != nil {
		p.stop(time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second)
	}
}

func (a *agent) forget(uid types.UID) *podRun {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pods[uid]
	delete(a.pods, uid)
	return p
}

// killAll ends every container; their namespaces take the descendants along.
func (a *agent) killAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pods {
		p.gone.Store(true)
		p.kill("")
	}
}

// killNamespace ends every container of a namespace and removes its pods.
func (a *agent) killNamespace(ctx context.Context, namespace string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	zero := int64(0)
	for _, p := range a.pods {
		if p.pod.Namespace == namespace {
			p.gone.Store(true)
			p.stop(0)
			p.kill("")
		}
	}
	a.client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &zero}, metav1.ListOptions{})
}

// newPodIP hands out loopback addresses in turn, so that a new pod does not get the address of one
// that has just gone.
func (a *agent) newPodIP() string {
	_, ipnet, err := net.ParseCIDR(a.o.cidr)
	if err != nil {
		panic(err)
	}
	ones, bits := ipnet.Mask.Size()
	size := uint32(1) << (bits - ones)
	a.lastIP = a.lastIP%(size-2) + 1
	ip := ipnet.IP.To4()
	n := uint32(ip[0])<<24 | uint32(ip[1])<<16 | uint32(ip[2])<<8 | uint32(ip[3]) + a.lastIP
	return net.IPv4(byte(n>>24), byte(n>>16), byte(n>>8), byte(n)).String()
}

func (a *agent) recorder(node string) record.EventRecorder {
	return a.events.NewRecorder(scheme.Scheme, v1.EventSource{Component: "kubelet", Host: node})
}
