//! The account in Chinese: one template for each message. `{name}` is a value, text between backticks is code.
//! Identifiers, instructions and source names stay as they are.
use crate::explain::findings::{FindingId, ProofId, Word};
use crate::explain::story::{Hypothesis, Missing, Part, Standing, SubjectKind, Topic};

use super::Label;
use super::Language;

/// The language.
pub(crate) const CHINESE: Language = Language {
    finding,
    proof,
    word,
    topic,
    part,
    hypothesis,
    standing,
    missing,
    subject,
    label,
};

fn finding(id: FindingId) -> &'static str {
    use FindingId as F;
    match id {
        F::Died => "内核在 `{function}` 中触发 {mnemonic}（{name}）后崩溃。",
        F::Reported => "内核报告：`{title}`。",
        F::AlsoTitled => "同一份报告也可能归到标题 `{title}` 下。",
        F::ReportDamaged => "报告本身已损坏，其中的调用栈不可信，原因：{why}。",
        F::LaterReport => {
            "日志里随后还有一份报告：`{title}`。以第一份为准，后面的往往只是连带结果。"
        }
        F::Panicked => "panic() 的信息：`{text}`。",
        F::NoException => "这次宕机不是由 CPU 异常引起的，原因：{why}。",
        F::ListOverwritten => {
            "`{cache}` 的空闲链表在此之前就被改写了：本该存放空闲对象指针的位置变成了 `{value}`。出错的代码只是从链表上取下一个对象而已。"
        }
        F::FieldOverwritten => {
            "`{cache}` 的一个对象里，结构的成员 `{field}` 在此之前就被改写了：它的值变成了 `{value}`。出错的代码只是使用了这个指针而已。"
        }
        F::OverwrittenBy => "改写它的内容是{what}的开头，也就是 USB 设备发来的数据。",
        F::OverwrittenByPart => "改写它的内容是{what}中间的一段，也就是 USB 设备发来的数据。",
        F::Raised => "CPU 触发了 {mnemonic}（{name}，向量号 {vector}）。",
        F::RaisedHeadline => "内核报告的是 `{headline}`，没有给出向量号。",
        F::EnteredBy => "异常入口是 `{entry}`。",
        F::Struck => "出错位置是 `{place}`，地址 `{address}`。",
        F::StruckNoAddress => "出错位置是 `{place}`。",
        F::SamePrivilege => "保存的 CS 为 `{cs}`，异常发生在内核态，特权级没有变化。",
        F::FromUser => "保存的 CS 为 `{cs}`，异常发生时 CPU 处于用户态。",
        F::FaultNotTrap => {
            "{mnemonic} 属于 fault 而不是 trap：保存的 rip 就是出错指令自身的地址，并非下一条指令。"
        }
        F::TrapNotFault => "{mnemonic} 属于 trap：保存的 rip 是下一条指令的地址。",
        F::ErrorCodeGone => {
            "硬件压栈的错误码已经看不到了：入口代码先用 rsi 把它传给 C 函数，再把它所在的槽位（orig_rax）写成 -1。所以不论注释里怎么标，这个槽位现在的内容 `{slot}` 并不是错误码。"
        }
        F::ErrorCode => "错误码为 `{code}`。",
        F::NamedAddress => "内核报告中给出的地址是 `{address}`，由内核根据指令和寄存器推算得出。",
        F::ReportedAddress => "CPU 报告的出错访问地址是 `{address}`。",
        F::RegistersOnStack => {
            "被打断时的寄存器现场以 `struct pt_regs` 的形式存放在栈上，范围是 `{at}` 到 `{end}`。"
        }
        F::RegistersByForm => {
            "它是在原始栈数据里按特征识别出来的：内核态的 CS 和 SS、标志寄存器、指向内核代码段的 rip、指向同一个栈的 rsp。21 个槽位中找到了 {count} 个。"
        }
        F::RegistersPrinted => "会话里直接打印了这组寄存器，21 个槽位中有 {count} 个。",
        F::RegistersFromReport => "这组寄存器来自内核自己打印的报告，21 个槽位中有 {count} 个。",
        F::PushedByEntry => {
            "最后五项和错误码由硬件压栈，其余由 `{entry}` 的入口代码（`error_entry`）压栈。"
        }
        F::RegistersPartly => "没有显示的槽位：`{missing}`。",
        F::Faulting => "出错指令是 `{text}`。",
        F::AddressSum => "访问的地址为 `{sum}` = `{address}`。",
        F::AddressOpen => "访问的地址为 `{sum}`，其中有未知项。",
        F::NotCanonical => {
            "`{address}` 是非规范地址：48 位虚拟地址要求第 63 到 47 位全部相同，而这里是二进制 `{top}`（省略前导零）。CPU 不会再去查页表。"
        }
        F::NullPage => "`{address}` 落在第一个页内，是空指针加上某个成员或元素的偏移。",
        F::KernelHalf => "`{address}` 是规范地址，位于内核空间。",
        F::UserHalf => "`{address}` 是规范地址，但位于用户空间。",
        F::StackSegment => "基址寄存器是 {base}，默认使用堆栈段（SS），尽管访问的并不是栈。",
        F::DataSegment => "基址寄存器是 {base}，默认使用数据段（DS）。",
        F::OtherSegment => "这次访问使用的段是 {segment}。",
        F::LoadedField => "{register}（{role}）= `{value}`：从 `{from}` 加载，即 `{field}`。",
        F::Loaded => "{register}（{role}）= `{value}`：从 `{from}` 加载。",
        F::ReturnedTyped => "{register} = `{value}`：`{function}` 的返回值，类型为 `{type_name}`。",
        F::Returned => "{register} = `{value}`：`{function}` 的返回值。",
        F::CameFrom => "{register}（{role}）= `{value}`：`{from}`。",
        F::OriginUnknown => "{register} = `{value}`：来源不明（{why}）。",
        F::FreelistIsRegister => {
            "内存中 `kmem_cache_cpu.freelist` 的值 `{value}` 与出错时的 {register} 一致。"
        }
        F::FreelistIsNot => {
            "内存中 `kmem_cache_cpu.freelist` 的值是 `{value}`，而出错时 {register} 为 `{other}`，两者不符。"
        }
        F::SumIsRegister => {
            "{register} 的值 `{sum}` 是在它的基础上再加 {offset}，即空闲对象内存放指针的偏移。"
        }
        F::PointsAt => "{register} 的值 `{address}` 就是文中 `struct {type_name}` 的地址。",
        F::TidIsRegister => "`kmem_cache_cpu.tid` 为 {tid}（`{hex}`），与 {register} 一致。",
        F::NextTid => {
            "{register} 的值 {next} 正是 {tid} 之后的下一个 tid，它和 {first} 都是为紧接着的 cmpxchg 准备的操作数。由此可以确定这组寄存器就属于这次分配，而且此后没有人再动过这条链表。"
        }
        F::Agrees => "`{what}` 成立：`{left}` 与 `{right}`。",
        F::Disagrees => "`{what}` 不成立：一边是 `{left}`，另一边是 `{right}`。",
        F::Contradicts => "同一项 `{what}` 在文本里有两种说法：`{one}` 和 `{other}`。",
        F::FrameRefuted => "文本中的栈帧 `{function}` 不成立：{why}。",
        F::LeftOver => {
            "{register} 中残留着 `{function}` 里的地址 `{value}`：说明之前执行过这段代码，仅供参考。"
        }
        F::Lent => "借用了同一内核版本的另一次崩溃中的信息：{what}。",
        F::Cache => "所属的 slab 缓存是 `{name}`，对象大小 {object_size} 字节。",
        F::CacheNoSize => "所属的 slab 缓存是 `{name}`。",
        F::PerCpuList => {
            "当前 CPU 的空闲链表（`struct kmem_cache_cpu`，位于 `{address}`）表头是 `{value}`。"
        }
        F::NotHardened => {
            "这个内核没有启用空闲链表加固：空闲对象偏移 {offset} 处存放的就是下一个空闲对象的原始指针。"
        }
        F::Hardened => "这个内核启用了空闲链表加固：空闲对象偏移 {offset} 处的指针是混淆后的值。",
        F::HardeningUnknown => "无法判断这个内核是否启用了空闲链表加固。",
        F::RawMeaning => {
            "因此 `{value}` 就是空闲对象里的原始内容，没有经过任何变换：谁写了这个对象，谁就写入了这几个字节。"
        }
        F::BytesInMemory => "`{value}` 在内存中从低地址到高地址依次是 `{bytes}`。",
        F::BytesUndone => "还原混淆之后，对象里的原始字节是 `{bytes}`。",
        F::StringHead => {
            "这是 USB 字符串描述符的头部（{sure}）：bLength 为 {length}，即 {characters} 个 UTF-16 字符，这几个字节里能看到的是 `{text}`。"
        }
        F::LanguagesHead => {
            "这是 USB 0 号字符串描述符的头部（{sure}）：bLength 为 {length}，语言 ID 为 `{languages}`。"
        }
        F::DescriptorHead => {
            "这是 USB 描述符（{name}）的头部（{sure}）：bDescriptorType 为 {kind}，bLength 为 {length}。"
        }
        F::DeviceBytes => {
            "这是 USB 设备 {vendor}:{product}（{device}）的数据（{sure}）：取自 {part}，总长 {length} 字节，从第 {at} 字节开始。"
        }
        F::DeviceText => "其中可读的文本是 `{text}`。",
        F::SetupPacket => "这是一个 USB SETUP 包，请求为 `{request}`（{sure}）。",
        F::TextBytes => "这是一段 {encoding} 文本 `{text}`（{sure}）。",
        F::Poison => "这是内核的填充值 `{name}`（{sure}）。",
        F::OneBit => "这是指针 `{pointer}` 的第 {bit} 位翻转之后的值（{sure}）。",
        F::ErrorNumber => "这是以指针形式返回的错误码 {number}，即 `{name}`（{sure}）。",
        F::Zeros => "内容全为零。",
        F::SmallNumber => "这只是一个小整数 {value}。",
        F::NotRecognised => "没有识别出已知的格式。",
        F::DescriptorInObject => {
            "描述符声明的长度是 {length} 字节，对象大小是 {object_size} 字节；这里能看到的只是指针所在位置的那几个字节。"
        }
        F::Carrier => "原先存放这些字节的对象位于 `{object}`。",
        F::StillThere => "这些字节现在还在原处。",
        F::NoLongerThere => "这些字节已经不在原处：该对象后来又被分配出去了。",
        F::LessLikely => "可能性较小的解释：`{what}`。",
        F::RequestedSize => "请求分配的大小是 {size} 字节。",
        F::RequestedFlags => "分配标志为 `{flags}`，即 `{names}`。",
        F::RequestedFlagsRaw => "分配标志为 `{flags}`。",
        F::ServedBy => "{size} 字节的请求由 `{cache}` 提供。",
        F::RootHubBuffer => {
            "这是 `rh_call_control` 的缓冲区（该函数被内联进 `{caller}`）：一次发往 root hub 的控制传输，{size} 字节，要求清零。"
        }
        F::AskedBy => "发起分配的是 `{caller}`；具体是它的哪个缓冲区，现有证据无法确定。",
        F::OnlyVictim => "它是受害者而不是肇事者：它只是来申请内存，碰上了一条早已被破坏的链表。",
        F::Process => "当时运行的进程是 `{comm}`（pid {pid}），位于 CPU {cpu}。",
        F::SyscallRequest => "所在的系统调用是 `{name}`，文件描述符 {fd}，请求为 `{request}`。",
        F::SyscallFd => "所在的系统调用是 `{name}`，文件描述符 {fd}。",
        F::Syscall => "所在的系统调用是 `{name}`（调用号 {number}）。",
        F::Release => "内核版本是 `{release}`。",
        F::Kaslr => "KASLR 对内核做了地址偏移。",
        F::NoKaslr => "内核没有被 KASLR 移动。",
        F::RuleStack => {
            "通过堆栈段访问非规范地址时触发的是堆栈段异常 #SS，而以 {base} 作基址就意味着使用堆栈段。"
        }
        F::RuleData => "通过 SS 以外的段访问非规范地址时触发的是通用保护异常 #GP。",
        F::RulePage => "规范地址要查页表，查找失败时触发的是缺页异常 #PF。",
        F::VectorAsHardware => "对于这条指令和这个地址，真实硬件触发的就是 {mnemonic}，两者相符。",
        F::VectorNotAsHardware => "实际出现的是 {came}，而真实硬件应当触发 {expected}。",
        F::WithOtherBase => {
            "如果编译器选用的基址不是 rbp 或 rsp，同一个缺陷表现出来的就会是通用保护异常 #GP。"
        }
        F::WithStackBase => "如果编译器选用 rbp 作基址，同一个缺陷表现出来的就会是堆栈段异常 #SS。",
        F::WithFiveLevels => {
            "启用五级页表时 `{address}` 属于规范地址，同一个缺陷会表现为缺页异常 #PF（paging request）。"
        }
        F::WithFiveLevelsSame => "即使启用五级页表，`{address}` 也仍是非规范地址，结果不变。",
        F::WithTcg => "QEMU 的 TCG 在这里触发的是 #GP：用它复现时向量不同，但仍然是同一个崩溃。",
        F::WithTcgSame => "QEMU 的 TCG 在这里同样触发 #GP。",
        F::ComparedWith => "做过比较的其他崩溃：{count} 个。",
        F::NothingToCompare => "未做比较，原因：{why}。",
        F::TieDecoded => "内容相同：`{what}`。",
        F::TieSite => "受害者相同，都是 `{what}` 的空闲链表。",
        F::TiePlace => "位置相同：`{what}`。",
        F::OtherRequest => "申请的内容不同，说明调用者不同：对方为 `{other}`，本例为 `{own}`。",
        F::TieReason => "比较结论：{why}。",
        F::ExplainedDifference => "以下差异可由规则 `{rule}` 解释：`{field}`。",
        F::UnexplainedDifference => "`{field}` 不同：对方为 `{golden}`，本例为 `{found}`。",
        F::ManyPlaces => {
            "至少有 {count} 处不同的代码因同样的字节而崩溃。它们不太可能犯了同样的错误，共同点只有这块内存。"
        }
        F::PredictHead => "内容应是设备发出的描述符原样数据，而不是软件转换后的文本",
        F::PredictObjectStart => {
            "这些字节在对象中的偏移应与它们在传输数据中的偏移相同，因为缓冲区从对象起始处开始"
        }
        F::PredictBufferCache => "对象应属于传输缓冲区所用的大小类别（`{cache}`）",
        F::PredictFreeObject => "被改写时对象应处于空闲状态：它确实挂在空闲链表上",
        F::PredictInFlight => "释放缓冲区时 URB 应仍在传输中（需要释放记录或驱动代码来证实）",
        F::PredictOtherVictims => "使用同一缓存的其他无关代码也应因同样的字节而崩溃",
        F::PredictRepeat => {
            "这些字节应在传输完成之后才到达（需要总线抓包，或由 IOMMU 撤销映射来证实）"
        }
        F::PredictCpuStore => "这些字节应由 CPU 写入（用 KASAN 内核可以定位到代码）",
        F::PredictTextOnly => "内容应只有文本，不含 bLength 和 bDescriptorType",
        F::PredictOneBit => "该值应与某个内核指针只差一位（这里至少相差 {bits} 位）",
        F::PredictMemoryDiffers => "内存中的值应与寄存器不一致",
        F::PredictContinuation => "内容应是前一个对象中数据的后续部分",
    }
}

fn proof(id: ProofId) -> &'static str {
    use ProofId as P;
    match id {
        P::AtLine => "第 {line} 行",
        P::Line => "第 {line} 行：`{text}`",
        P::StackWord => "第 {line} 行，栈地址 `{at}` 处：`{value}`",
        P::StackMemory => "栈地址 `{at}` 处：`{value}`",
        P::Instruction => "第 {line} 行，`{place}`：`{text}`",
        P::InstructionMemory => "`{place}`：`{text}`",
        P::Memory => "`{what}`",
        P::Stated => "规则：{rule}",
        P::Follows => "由此推出：{from}",
        P::SdmClasses => "Intel SDM 卷 3A，6.5 节及表 6-1",
        P::SdmCanonical => "Intel SDM 卷 1，3.3.7.1 节",
        P::SdmSegments => "Intel SDM 卷 1，3.7.4 节；卷 3A，6.15 节（12 号中断）",
        P::EntryCode => "arch/x86/entry/entry_64.S（idtentry、error_entry）",
        P::SlubSource => "mm/slub.c（slab_alloc_node、next_tid、freelist_ptr）",
        P::UsbStrings => "USB 2.0，9.6.7 节",
        P::RootHubSource => "drivers/usb/core/hcd.c（rh_call_control）",
        P::QemuSource => "QEMU，target/i386/tcg",
        P::NotShown => "现有证据中没有",
    }
}

fn word(word: Word) -> &'static str {
    match word {
        Word::Base => "基址",
        Word::Index => "变址",
        Word::NoOperand => "不参与寻址",
        Word::ByForm => "依据格式判断",
        Word::Proven => "已证实：转储中有完全相同的字节",
        Word::Plausible => "仅为可能",
        Word::StringDescriptor => "一个 USB 字符串描述符",
        Word::OtherDescriptor => "一个 USB 描述符",
    }
}

fn topic(topic: Topic) -> &'static str {
    match topic {
        Topic::Summary => "概要",
        Topic::Exception => "异常",
        Topic::Registers => "保存的寄存器现场",
        Topic::Instruction => "出错指令",
        Topic::Origins => "寄存器的来源",
        Topic::Agreement => "相互印证与矛盾之处",
        Topic::Hardening => "slab 缓存及其指针",
        Topic::Value => "这个值是什么",
        Topic::Allocation => "申请了什么，由谁申请",
        Topic::Context => "进程与系统调用",
        Topic::Vector => "为什么是这个向量",
        Topic::Others => "还有哪些崩溃与此相同",
        Topic::Alternatives => "其他解释需要满足什么条件",
        Topic::Unknown => "尚不清楚的部分",
    }
}

fn part(part: Part) -> &'static str {
    match part {
        Part::Length => "bLength",
        Part::Type => "bDescriptorType",
        Part::Character => "UTF-16 字符",
        Part::Ascii => "ASCII 字符",
        Part::Language => "wLANGID",
        Part::Opaque => "未知",
    }
}

fn hypothesis(what: Hypothesis) -> &'static str {
    match what {
        Hypothesis::LateDma => "缓冲区释放之后，主机控制器又往里面写了一次（DMA）",
        Hypothesis::EarlyFree => "传输尚未结束，驱动就提前释放了缓冲区",
        Hypothesis::SoftwareRaw => "CPU 把整个描述符拷贝到了已释放的内存里",
        Hypothesis::SoftwareText => "CPU 把文本写到了已释放的内存里",
        Hypothesis::Overrun => "前一个对象写越界",
        Hypothesis::BitFlip => "内存位翻转",
        Hypothesis::WrongRegisters => "这组寄存器并不是出错时的现场",
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Supported => "证据支持",
        Standing::Refuted => "已排除",
        Standing::Undecided => "现有证据无法判断",
    }
}

fn missing(what: Missing) -> &'static str {
    match what {
        Missing::Release => "内核版本",
        Missing::Task => "进程",
        Missing::Exception => "异常",
        Missing::Registers => "寄存器",
        Missing::Place => "出错位置",
        Missing::Instruction => "出错指令",
        Missing::Cache => "slab 缓存",
        Missing::Freelist => "空闲链表",
        Missing::Value => "该值的含义",
        Missing::Size => "请求大小",
        Missing::Flags => "分配标志",
        Missing::Syscall => "系统调用",
        Missing::Frames => "调用链",
        Missing::Kaslr => "KASLR",
        Missing::Note => "说明",
    }
}

fn subject(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Vmcore => "vmcore",
        SubjectKind::Transcript => "crash 会话文本",
        SubjectKind::Console => "内核日志",
    }
}

fn label(label: Label) -> &'static str {
    match label {
        Label::Title => "崩溃分析",
        Label::From => "来源",
        Label::Slot => "槽位",
        Label::StackAddress => "栈地址",
        Label::Value => "值",
        Label::Line => "行号",
        Label::Offset => "偏移",
        Label::Bytes => "字节",
        Label::What => "含义",
        Label::Frame => "函数（由内到外）",
        Label::Inlined => "内联",
        Label::More => "条其他证据",
        Label::Unknown => "未显示",
        Label::Nothing => "对这次崩溃一无所知。",
    }
}
